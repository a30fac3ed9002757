"""Trading strategies, and the contract and toolkit that they stand on."""
