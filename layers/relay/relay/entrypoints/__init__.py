"""Entry points: one object for each Lambda function. `relay.bootstrap` puts them together."""
