"""Amazon ECR's own APIs: authorization tokens and their cache, repositories, and what AWS's refusals mean."""
