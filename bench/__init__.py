"""Measures, records and judges: AutoBench, the ledger, the judge, the reports."""
