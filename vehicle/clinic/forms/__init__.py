"""Follow-up forms of the national basic public health service as data, and what follows from their answers."""
