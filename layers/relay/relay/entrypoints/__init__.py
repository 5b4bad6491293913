"""Entry points: one object for each Lambda function, which `bootstrap` puts together."""
