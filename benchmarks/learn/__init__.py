"""Does a recipe learn more from noisy labels? Real pictures with noise like the web's, arms, seeds, one table."""
