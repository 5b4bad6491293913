"""The first two hours on a real account: deploy, check what only AWS can answer, remove everything, write a report."""
