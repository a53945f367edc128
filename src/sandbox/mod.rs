//! wasmi: engine, prepared modules, instances, fuel, deadline, pool, host imports, WASI.
