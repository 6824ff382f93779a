"""The C files, their build (`make setup`) and their one door, library.py."""
