"""How deciders learn and are compared: recorded measurements, tables of values, the exact answer to beat."""
