"""Entry points: one object for each Lambda function, put together by `relay.bootstrap`."""
