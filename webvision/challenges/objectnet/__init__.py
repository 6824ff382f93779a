"""ObjectNet: its class mappings, its CSV of predictions and that file's validation, evaluation of a folder."""
