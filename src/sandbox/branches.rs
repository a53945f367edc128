//! How much validating and translating a module's branch tables takes.
//!
//! Each target of a `br_table` is checked against, and translated into copies of, every value that its label carries. A
//! module of some megabytes whose tables lead out of blocks with 60 values took 8 s to load.

use wasmparser::{BlockType, FunctionBody, Operator};

use super::bounds::BoundsError;

/// Values that all targets of all branch tables of a module carry. Each takes about 10 ns.
pub(super) const MAX_BRANCH_VALUES: u64 = 4_000_000;

/// Adds up the values that targets of branch tables carry.
pub(super) struct BranchValues<'a> {
    /// Parameters and results of each function type.
    types: &'a [(u64, u64)],
    total: u64,
}

impl<'a> BranchValues<'a> {
    pub(super) fn new(types: &'a [(u64, u64)]) -> Self {
        Self { types, total: 0 }
    }

    /// Adds a function of `results` results.
    ///
    /// # Errors
    /// All of them together are too many.
    pub(super) fn add(&mut self, body: &FunctionBody<'_>, results: u64) -> Result<(), BoundsError> {
        // What a branch to each open block carries, the function itself first.
        let mut labels = vec![results];
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Block { blockty } | Operator::If { blockty } => labels.push(self.arity(blockty).1),
                Operator::Loop { blockty } => labels.push(self.arity(blockty).0),
                Operator::End => drop(labels.pop()),
                Operator::BrTable { targets } => {
                    for target in targets.targets().chain([Ok(targets.default())]) {
                        // A label that does not exist is for wasmi to refuse.
                        let label = labels.iter().rev().nth(target? as usize);
                        self.total = self.total.saturating_add(label.copied().unwrap_or(0));
                    }
                    if self.total > MAX_BRANCH_VALUES {
                        let (what, count) = ("values carried by targets of branch tables", self.total);
                        return Err(BoundsError::TooMany { what, count, limit: MAX_BRANCH_VALUES });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn arity(&self, block: BlockType) -> (u64, u64) {
        match block {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(index) => self.types.get(index as usize).copied().unwrap_or((0, 0)),
        }
    }
}
