module ledgerd/interop/verify

go 1.26.0
