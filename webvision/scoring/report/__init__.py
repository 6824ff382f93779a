"""One HTML page about predictions: sources -> figures and charts and gallery -> html, with the templates of page/."""
