"""What a visit proves: pure rules over entries, the same at the county and in the verifier."""
