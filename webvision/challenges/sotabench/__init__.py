"""sotabench: the evaluator with its cache of results, ILSVRC's labels from the devkit, evaluation of the validation
set."""
