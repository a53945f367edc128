//! How much a guest's core module may hold.
//!
//! Everything that preparing a guest or making an instance of it pays for is counted here against a limit: wasmi's own
//! `EnforcedLimits` are fixed numbers that some honest guests exceed, and they do not count what is inside of segments.
//! What is left below the limits is charged to the callback as fuel and counted into the memory budget.

use wasmparser::{
    BinaryReaderError, ConstExpr, DataKind, ElementItems, ElementKind, Encoding, Payload, TableInit,
};

use super::branches::BranchValues;

/// Functions of a module. Each costs an instance about 10 ns.
pub(super) const MAX_FUNCTIONS: u64 = 30_000;
/// Function types of a module.
pub(super) const MAX_TYPES: u64 = 10_000;
/// Parameters of a function type. Wide ones make translation slower than linear.
pub(super) const MAX_PARAMS: u64 = 64;
/// Results of a function type, which each branch out of a block carries along.
pub(super) const MAX_RESULTS: u64 = 64;
/// Globals of a module.
pub(super) const MAX_GLOBALS: u64 = 5_000;
/// Tables of a module.
pub(super) const MAX_TABLES: u64 = 16;
/// Element segments, and data segments, of a module.
pub(super) const MAX_SEGMENTS: u64 = 10_000;
/// Items of all element segments. An instance evaluates each, which takes about 50 ns, and a module keeps each as a boxed
/// expression.
pub(super) const MAX_ELEMENT_ITEMS: u64 = 100_000;
/// Bytes of one constant expression. wasmi evaluates it by recursion, so one of a megabyte would overflow the native
/// stack; honest ones have at most eleven bytes.
pub(super) const MAX_CONSTANT_BYTES: u64 = 64;
/// Bytes of one function's code. It is translated in one go when it is first called, without a look at the clock.
pub(super) const MAX_FUNCTION_BYTES: u64 = 512 * 1024;
/// Bytes of code up to which branch tables are not looked at: translating that much takes less than a second whatever
/// it is.
const SMALL_CODE_BYTES: u64 = 512 * 1024;
/// Imports of a module.
pub(super) const MAX_IMPORTS: u64 = 1_000;
/// Exports of a module.
pub(super) const MAX_EXPORTS: u64 = 10_000;

const PAGE: u64 = 64 * 1024;

/// Why a module is refused before wasmi sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BoundsError {
    #[error("it is malformed: {0}")]
    Malformed(String),
    #[error("it has {count} {what}, and {limit} are allowed")]
    TooMany { what: &'static str, count: u64, limit: u64 },
    #[error("its memory starts with {bytes} bytes, and a callback may have {limit}")]
    Memory { bytes: u64, limit: u64 },
    #[error("its tables start with {elements} elements, and {limit} are allowed")]
    Tables { elements: u64, limit: u64 },
    #[error(
        "its active data segments have {bytes} bytes, and its memory starts with {memory}: they overlap or lie outside"
    )]
    Data { bytes: u64, memory: u64 },
}

impl From<BinaryReaderError> for BoundsError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What a module asks for, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ModuleSize {
    pub(super) functions: u64,
    pub(super) globals: u64,
    /// Elements that all tables start with.
    pub(super) table_elements: u64,
    /// Bytes that the memory starts with.
    pub(super) memory_bytes: u64,
    pub(super) element_segments: u64,
    pub(super) element_items: u64,
    pub(super) data_segments: u64,
    /// Bytes of active data segments: each instance copies them.
    pub(super) data_bytes: u64,
    /// Bytes of all functions' code.
    pub(super) code_bytes: u64,
}

impl ModuleSize {
    /// Counts a module.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub(super) fn of(payloads: &[Payload<'_>]) -> Result<Self, BoundsError> {
        let mut size = Self::default();
        for payload in payloads {
            size.count(payload)?;
        }
        if size.code_bytes > SMALL_CODE_BYTES {
            check_branches(payloads)?;
        }
        if size.data_bytes > size.memory_bytes {
            return Err(BoundsError::Data { bytes: size.data_bytes, memory: size.memory_bytes });
        }
        Ok(size)
    }

    /// Whether an instance starts within what a callback may have.
    ///
    /// # Errors
    /// What is larger, with both numbers.
    pub(super) fn fits(&self, memory_bytes: usize, table_elements: usize) -> Result<(), BoundsError> {
        let (bytes, limit) = (self.memory_bytes, memory_bytes as u64);
        if bytes > limit {
            return Err(BoundsError::Memory { bytes, limit });
        }
        let (elements, limit) = (self.table_elements, table_elements as u64);
        if elements > limit {
            return Err(BoundsError::Tables { elements, limit });
        }
        Ok(())
    }

    /// Bytes of the host that an instance takes beside its memory and its tables.
    pub(super) fn instance_bytes(&self) -> u64 {
        const FUNCTION: u64 = 64;
        const GLOBAL: u64 = 32;
        const SEGMENT: u64 = 64;
        const ITEM: u64 = 8;
        let segments = self.element_segments + self.data_segments;
        self.functions * FUNCTION + self.globals * GLOBAL + segments * SEGMENT + self.element_items * ITEM
    }

    /// Units of fuel that making an instance costs its callback: about one for a nanosecond or two.
    pub(super) fn instance_fuel(&self) -> u64 {
        const FUNCTION: u64 = 8;
        const SEGMENT: u64 = 64;
        const ITEM: u64 = 32;
        const BYTES_PER_FUEL: u64 = 64;
        let segments = self.element_segments + self.data_segments;
        let bytes = self.memory_bytes + self.data_bytes + self.table_elements * 8;
        self.functions * FUNCTION + segments * SEGMENT + self.element_items * ITEM + bytes / BYTES_PER_FUEL
    }

    fn count(&mut self, payload: &Payload<'_>) -> Result<(), BoundsError> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(BoundsError::Malformed("it is a component, not a core module".to_owned()));
            }
            Payload::TypeSection(types) => {
                at_most("types", types.count().into(), MAX_TYPES)?;
                for ty in types.clone().into_iter_err_on_gc_types() {
                    let ty = ty?;
                    at_most("parameters in a function type", ty.params().len() as u64, MAX_PARAMS)?;
                    at_most("results in a function type", ty.results().len() as u64, MAX_RESULTS)?;
                }
            }
            Payload::ImportSection(imports) => at_most("imports", imports.count().into(), MAX_IMPORTS)?,
            Payload::FunctionSection(functions) => {
                self.functions = functions.count().into();
                at_most("functions", self.functions, MAX_FUNCTIONS)?;
            }
            Payload::TableSection(tables) => {
                at_most("tables", tables.count().into(), MAX_TABLES)?;
                for table in tables.clone() {
                    let table = table?;
                    self.table_elements = self.table_elements.saturating_add(table.ty.initial);
                    if let TableInit::Expr(value) = &table.init {
                        constant(value)?;
                    }
                }
            }
            Payload::MemorySection(memories) => {
                at_most("memories", memories.count().into(), 1)?;
                for memory in memories.clone() {
                    self.memory_bytes = memory?.initial.saturating_mul(PAGE);
                }
            }
            Payload::GlobalSection(globals) => {
                self.globals = globals.count().into();
                at_most("globals", self.globals, MAX_GLOBALS)?;
                for global in globals.clone() {
                    constant(&global?.init_expr)?;
                }
            }
            Payload::ExportSection(exports) => at_most("exports", exports.count().into(), MAX_EXPORTS)?,
            Payload::ElementSection(elements) => {
                self.element_segments = elements.count().into();
                at_most("element segments", self.element_segments, MAX_SEGMENTS)?;
                for element in elements.clone() {
                    let element = element?;
                    if let ElementKind::Active { offset_expr, .. } = &element.kind {
                        constant(offset_expr)?;
                    }
                    self.count_items(&element.items)?;
                }
            }
            Payload::DataSection(data) => {
                self.data_segments = data.count().into();
                at_most("data segments", self.data_segments, MAX_SEGMENTS)?;
                for segment in data.clone() {
                    let segment = segment?;
                    if let DataKind::Active { offset_expr, .. } = &segment.kind {
                        constant(offset_expr)?;
                        self.data_bytes += segment.data.len() as u64;
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len() as u64;
                at_most("bytes of code in a function", bytes, MAX_FUNCTION_BYTES)?;
                self.code_bytes += bytes;
            }
            _ => {}
        }
        Ok(())
    }

    fn count_items(&mut self, items: &ElementItems<'_>) -> Result<(), BoundsError> {
        let count = match items {
            ElementItems::Functions(functions) => functions.count(),
            ElementItems::Expressions(_, expressions) => expressions.count(),
        };
        // Before they are looked at one by one: a segment can say any number.
        self.element_items = self.element_items.saturating_add(count.into());
        at_most("items in element segments", self.element_items, MAX_ELEMENT_ITEMS)?;
        if let ElementItems::Expressions(_, expressions) = items {
            for expression in expressions.clone() {
                constant(&expression?)?;
            }
        }
        Ok(())
    }
}

fn check_branches(payloads: &[Payload<'_>]) -> Result<(), BoundsError> {
    let (mut types, mut functions) = (Vec::new(), Vec::new());
    for payload in payloads {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.clone().into_iter_err_on_gc_types() {
                    let ty = ty?;
                    types.push((ty.params().len() as u64, ty.results().len() as u64));
                }
            }
            Payload::FunctionSection(section) => {
                functions = section.clone().into_iter().collect::<Result<_, _>>()?
            }
            _ => {}
        }
    }
    let mut values = BranchValues::new(&types);
    let mut functions = functions.into_iter();
    for payload in payloads {
        let Payload::CodeSectionEntry(body) = payload else { continue };
        let ty = functions.next().and_then(|index: u32| types.get(index as usize));
        values.add(body, ty.map_or(0, |ty| ty.1))?;
    }
    Ok(())
}

fn at_most(what: &'static str, count: u64, limit: u64) -> Result<(), BoundsError> {
    match count > limit {
        true => Err(BoundsError::TooMany { what, count, limit }),
        false => Ok(()),
    }
}

fn constant(expression: &ConstExpr<'_>) -> Result<(), BoundsError> {
    let bytes = expression.get_binary_reader().bytes_remaining() as u64;
    at_most("bytes in a constant expression", bytes, MAX_CONSTANT_BYTES)
}

#[cfg(test)]
mod tests {
    use wasmparser::Parser;

    use super::*;

    fn size(text: &str) -> Result<ModuleSize, BoundsError> {
        size_of(&wat::parse_str(text).unwrap())
    }

    fn size_of(module: &[u8]) -> Result<ModuleSize, BoundsError> {
        let payloads = Parser::new(0).parse_all(module).collect::<Result<Vec<_>, _>>()?;
        ModuleSize::of(&payloads)
    }

    fn too_many<T>(what: &'static str, limit: u64) -> Result<T, BoundsError> {
        Err(BoundsError::TooMany { what, count: limit + 1, limit })
    }

    /// A module that has `text` and the items of `count` numbers.
    fn repeated(item: &str, count: u64) -> String {
        format!("(module {})", item.repeat(count as usize))
    }

    #[test]
    fn each_count_holds_at_its_limit_and_not_one_past_it() {
        let rows: [(&'static str, u64, &str); 8] = [
            ("functions", MAX_FUNCTIONS, "(func)"),
            ("globals", MAX_GLOBALS, "(global i32 (i32.const 0))"),
            ("tables", MAX_TABLES, "(table 0 funcref)"),
            ("imports", MAX_IMPORTS, r#"(import "a" "b" (func))"#),
            ("memories", 1, "(memory 1)"),
            ("element segments", MAX_SEGMENTS, "(elem func)"),
            ("data segments", MAX_SEGMENTS, r#"(data "")"#),
            ("types", MAX_TYPES, "(type (func))"),
        ];
        for (what, limit, item) in rows {
            assert!(size(&repeated(item, limit)).is_ok(), "{what}");
            assert_eq!(size(&repeated(item, limit + 1)), too_many(what, limit), "{what}");
        }
    }

    #[test]
    fn a_function_type_is_as_wide_as_its_limit_and_no_wider() {
        let rows = [
            ("param", "parameters in a function type", MAX_PARAMS),
            ("result", "results in a function type", MAX_RESULTS),
        ];
        for (field, what, limit) in rows {
            let wide =
                |count: u64| format!("(module (type (func ({field} {}))))", "i32 ".repeat(count as usize));
            assert!(size(&wide(limit)).is_ok(), "{what}");
            assert_eq!(size(&wide(limit + 1)), too_many(what, limit), "{what}");
        }
    }

    // What happened: 1,700 element segments of 9,000 items each made every instance take most of a second, and with it
    // every callback of every other channel.
    #[test]
    fn items_of_all_element_segments_are_counted_together() {
        let what = "items in element segments";
        let kinds = ["(elem func", "(elem declare func", "(elem (i32.const 0) func"];
        for kind in kinds {
            let segments = |last: usize| {
                let full = format!("{kind} {})", "$f ".repeat(25_000)).repeat(3);
                format!("(module (table 25000 funcref) (func $f) {full} {kind} {}))", "$f ".repeat(last))
            };
            assert_eq!(
                size(&segments(25_000)).map(|size| size.element_items),
                Ok(MAX_ELEMENT_ITEMS),
                "{kind}"
            );
            assert_eq!(size(&segments(25_001)), too_many(what, MAX_ELEMENT_ITEMS), "{kind}");
        }
        let expressions = |count| format!("(module (elem funcref {}))", "(ref.null func) ".repeat(count));
        assert!(size(&expressions(100_000)).is_ok());
        assert_eq!(size(&expressions(100_001)), too_many(what, MAX_ELEMENT_ITEMS));
    }

    // What happened: 9,990 data segments of 1.5 KB, all at the same place, were copied for every instance.
    #[test]
    fn active_data_is_no_larger_than_the_memory_that_it_goes_to() {
        let data = |last: usize| {
            let segment = |len| format!(r#"(data (i32.const 0) "{}")"#, "x".repeat(len));
            format!("(module (memory 1) {} {})", segment(65_000), segment(last))
        };
        assert_eq!(size(&data(536)).map(|size| size.data_bytes), Ok(65_536));
        assert_eq!(size(&data(537)), Err(BoundsError::Data { bytes: 65_537, memory: 65_536 }));
        let passive = format!(r#"(module (memory 0) (data "{}"))"#, "x".repeat(100_000));
        assert_eq!(size(&passive).map(|size| size.data_bytes), Ok(0));
    }

    // What happened: wasmi evaluates a constant expression by recursion, and one with a hundred thousand additions
    // overflowed the native stack of the thread that loaded it, which ends the process.
    #[test]
    fn a_constant_expression_is_short_wherever_it_stands() {
        // One byte of opcode and one of value; an addition has one; `end` is one.
        let sum = |terms: u64| {
            let more = "(i32.const 1) i32.add ".repeat(terms as usize - 1);
            format!("(i32.const 1) {more}")
        };
        let longest = (MAX_CONSTANT_BYTES - 2 - 1) / 3 + 1;
        let rows = [
            ("global", "(module (global i32 EXPR))"),
            ("element offset", "(module (table 0 funcref) (elem (offset EXPR) func))"),
            ("data offset", r#"(module (memory 0) (data (offset EXPR) ""))"#),
        ];
        for (place, text) in rows {
            assert!(size(&text.replace("EXPR", &sum(longest))).is_ok(), "{place}");
            let error = size(&text.replace("EXPR", &sum(longest + 1))).unwrap_err();
            assert!(error.to_string().contains("bytes in a constant expression"), "{place}: {error}");
        }
    }

    // What happened: 7.5 MB of straight code in one function were translated for 1.3 s in a callback, whose deadline nobody
    // looked at meanwhile.
    #[test]
    fn a_function_has_as_much_code_as_its_limit_and_no_more() {
        // The body begins with a byte for its locals and ends with one for `end`.
        let body = |bytes: u64| format!("(module (func {}))", "nop ".repeat(bytes as usize - 2));
        assert_eq!(size(&body(MAX_FUNCTION_BYTES)).map(|size| size.code_bytes), Ok(MAX_FUNCTION_BYTES));
        assert_eq!(
            size(&body(MAX_FUNCTION_BYTES + 1)),
            too_many("bytes of code in a function", MAX_FUNCTION_BYTES)
        );
    }

    // What happened: branch tables out of blocks with 60 results took 8 s to load.
    #[test]
    fn branch_tables_carry_as_many_values_as_their_limit_and_no_more() {
        use super::super::branches::MAX_BRANCH_VALUES;

        let values = "i32 ".repeat(50);
        let constants = "(i32.const 0) ".repeat(50);
        // Fifty values for each of its 500 targets, one of which is the default.
        let block = |body: &str, drops: &str| {
            let table = format!("(br_table {} (i32.const 0))", "0 ".repeat(500));
            format!("{constants} (block (type $t) {body} {table}) {drops}")
        };
        let drops = "drop ".repeat(50);
        let out_of_blocks = format!("(type $t (func (param {values}) (result {values})))");
        let tables = |count: u64| {
            let blocks = block("", &drops).repeat(count as usize);
            // Enough code beside them for branch tables to be looked at.
            let filler = format!("(func {})", "nop ".repeat(SMALL_CODE_BYTES as usize - 10));
            format!("(module {out_of_blocks} {filler} (func {blocks}))")
        };
        let limit = MAX_BRANCH_VALUES / (50 * 500);
        assert!(size(&tables(limit)).is_ok());
        let error = size(&tables(limit + 1)).unwrap_err().to_string();
        assert!(error.contains("4025000 values carried by targets"), "{error}");
        let into_loops = tables(limit + 1).replace("(block (type", "(loop (type");
        assert!(size(&into_loops).unwrap_err().to_string().contains("values carried by targets"));
    }

    #[test]
    fn an_initial_state_fits_at_its_limit_and_not_one_past_it() {
        let size = size("(module (memory 2) (table 7 funcref) (table 3 externref))").unwrap();
        assert_eq!(size.fits(2 * 65_536, 10), Ok(()));
        let memory = BoundsError::Memory { bytes: 2 * PAGE, limit: 2 * PAGE - 1 };
        assert_eq!(size.fits(2 * 65_536 - 1, 10), Err(memory));
        assert_eq!(size.fits(2 * 65_536, 9), Err(BoundsError::Tables { elements: 10, limit: 9 }));
    }

    #[test]
    fn instance_size_grows_with_functions_elements_and_data() {
        let small = size("(module (memory 1))").unwrap();
        let rows = [
            ("functions", "(module (memory 1) (func) (func))"),
            ("items", "(module (memory 1) (func $f) (elem func $f $f $f))"),
            ("data", r#"(module (memory 1) (data (i32.const 0) "x"))"#),
        ];
        for (what, text) in rows {
            let size = size(text).unwrap();
            assert!(size.instance_bytes() > small.instance_bytes(), "{what}");
            assert!(size.instance_fuel() > small.instance_fuel(), "{what}");
        }
    }
}
