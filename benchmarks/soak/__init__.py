"""Long loops over real processes that count how often each promise of docs/RELIABILITY.md holds."""
