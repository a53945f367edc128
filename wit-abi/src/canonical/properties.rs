//! Properties of lifting and lowering.
