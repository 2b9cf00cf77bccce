"""What evaluations keep: records of samples, the worst of attacks, the sanity gate, results, predictions."""
