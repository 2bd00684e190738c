"""Open pull requests: do they merge into their base and with each other, as text and in meaning?"""
