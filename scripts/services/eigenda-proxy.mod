// What scripts/services/eigenda-proxy builds EigenDA's proxy from: its release, and what that release replaces, as the proxy of modules serves it.
// eigenda-proxy.sum beside this file has the checksums of all of it.
module eigenda-proxy

go 1.24.0

require (
	github.com/Layr-Labs/eigenda v0.9.2
	github.com/Layr-Labs/eigenda-proxy v1.8.2
	github.com/ethereum-optimism/optimism v1.13.7
)

replace github.com/ethereum/go-ethereum => github.com/ethereum-optimism/op-geth v1.101602.3-rc.1.0.20250917151430-fa03b2609443
