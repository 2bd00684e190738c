# ruff: noqa
import logging

logging.basicConfig(level=logging.INFO)
logging.info("told")
