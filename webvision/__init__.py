"""Image classification on noisy web data: prep -> data -> model -> training -> scoring -> a submission.

Importing the package loads nothing; each module imports what it needs.
"""
