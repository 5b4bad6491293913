"""List prices of AWS in us-east-1, without any free tier. Noted on 2026-11-25; check them, since prices change."""

NOTED = "us-east-1, noted on 2026-11-25; check them"

# Dollars for a million of each, unless the name says otherwise.
API_REQUESTS = 3.50  # REST API, the first 333 million of a month
LAMBDA_REQUESTS = 0.20
LAMBDA_GB_SECOND = 0.0000133334  # arm64; dollars for one
SQS_REQUESTS = 0.40  # standard queues, after the first million of a month
DYNAMODB_WRITE_UNITS = 0.625  # on demand
DYNAMODB_READ_UNITS = 0.125  # on demand
SECRET_READS = 5.00  # 0.05 for 10,000
# From pages that quote aws.amazon.com/waf/pricing (for example c3x.dev/blog/aws-waf-cost-explained); not checked on
# AWS's own page. A web ACL also costs 5 dollars a month, and each of its rules 1.
WAF_REQUESTS = 0.60
LOG_GB = 0.50  # dollars for one, taken in

# Dollars a month, independent of traffic.
ALARM = 0.10
METRIC = 0.30
SECRET = 0.40
