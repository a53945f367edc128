//! wasmi's handlers end in tail calls, nearly all of them. One that does not takes native stack each time a guest's
//! loop passes it, until the slice of fuel ends. So each must cost enough fuel for its stack.

use std::sync::{Arc, Mutex};

use wasmi::{Engine, Linker, Module, Store};

use super::support::{Bench, Wat};
use crate::sandbox::{WasmChannelError, WasmChannelRuntime};

const ITERATIONS: usize = 1000;

/// One line for each kind of instruction; each leaves the operand stack as it was.
const INSTRUCTIONS: &[(&str, &str)] = &[
    ("nothing", "nop"),
    ("i32 arithmetic", "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 3)) (local.get $b)))"),
    ("i32 division", "(local.set $a (i32.div_u (local.get $a) (i32.const 3)))"),
    ("i32 signed division", "(local.set $a (i32.rem_s (local.get $a) (i32.const 3)))"),
    ("i32 bits", "(local.set $a (i32.clz (i32.rotl (i32.popcnt (local.get $a)) (local.get $b))))"),
    ("i64 arithmetic", "(local.set $l (i64.add (i64.mul (local.get $l) (i64.const 3)) (i64.const 1)))"),
    ("i64 division", "(local.set $l (i64.div_s (local.get $l) (i64.const 3)))"),
    ("f32", "(local.set $f (f32.sqrt (f32.add (local.get $f) (f32.const 1))))"),
    ("f32 rounding", "(local.set $f (f32.nearest (f32.trunc (f32.ceil (f32.floor (local.get $f))))))"),
    ("f32 copysign", "(local.set $f (f32.copysign (f32.min (local.get $f) (f32.const 2)) (f32.const -1)))"),
    ("f64", "(local.set $d (f64.div (f64.sqrt (local.get $d)) (f64.const 3)))"),
    ("f64 rounding", "(local.set $d (f64.nearest (f64.trunc (f64.ceil (f64.floor (local.get $d))))))"),
    ("f64 max", "(local.set $d (f64.max (f64.neg (local.get $d)) (f64.const 3)))"),
    ("truncation", "(local.set $a (i32.trunc_f64_s (local.get $d)))"),
    ("saturating truncation", "(local.set $l (i64.trunc_sat_f32_u (local.get $f)))"),
    ("conversion", "(local.set $d (f64.convert_i64_u (local.get $l)))"),
    ("promotion", "(local.set $d (f64.promote_f32 (local.get $f)))"),
    ("reinterpretation", "(local.set $l (i64.reinterpret_f64 (local.get $d)))"),
    ("sign extension", "(local.set $a (i32.extend8_s (local.get $a)))"),
    ("wrapping", "(local.set $a (i32.wrap_i64 (i64.extend_i32_s (local.get $a))))"),
    ("comparison", "(local.set $a (i32.lt_s (local.get $a) (local.get $b)))"),
    ("select", "(local.set $a (select (local.get $a) (local.get $b) (local.get $b)))"),
    ("i32 load", "(local.set $a (i32.load (i32.const 8)))"),
    ("i32 load by address", "(local.set $a (i32.load offset=4 (local.get $b)))"),
    ("i32 narrow load", "(local.set $a (i32.load8_s (local.get $b)))"),
    ("i64 load", "(local.set $l (i64.load32_u (local.get $b)))"),
    ("f64 load", "(local.set $d (f64.load (local.get $b)))"),
    ("i32 store", "(i32.store (local.get $b) (local.get $a))"),
    ("i32 store of a constant", "(i32.store16 (local.get $b) (i32.const 7))"),
    ("i64 store", "(i64.store (local.get $b) (local.get $l))"),
    ("f32 store", "(f32.store (local.get $b) (local.get $f))"),
    ("global", "(global.set $g (i32.add (global.get $g) (i32.const 1)))"),
    ("i64 global", "(global.set $gl (i64.add (global.get $gl) (i64.const 1)))"),
    ("if", "(if (local.get $a) (then (local.set $a (i32.const 0))) (else (local.set $a (i32.const 1))))"),
    ("block and br_if", "(block (br_if 0 (local.get $a)) (local.set $a (i32.const 1)))"),
    ("br_table", "(block (block (br_table 0 1 (local.get $a))) (local.set $a (i32.const 1)))"),
    (
        "inner loop",
        "(local.set $a (i32.const 3))
        (loop $i (br_if $i (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))",
    ),
    ("call", "(call $callee)"),
    ("call with values", "(local.set $a (call $adder (local.get $a) (local.get $b)))"),
    ("call of many results", "(call $many) (drop) (drop) (local.set $a)"),
    ("recursion", "(call $recursive (i32.const 5))"),
    ("indirect call", "(call_indirect $table (i32.const 0))"),
    ("tail call", "(call $tail (i32.const 5))"),
    ("indirect tail call", "(call $tail-indirect)"),
    ("host call", "(call $host)"),
    ("host call with values", "(local.set $a (call $host-values (local.get $a) (local.get $l)))"),
    ("host function in a table", "(call_indirect $table (i32.const 1))"),
    ("tail call of the host", "(call $tail-host)"),
    ("memory.size", "(local.set $a (memory.size))"),
    ("memory.grow by nothing", "(drop (memory.grow (i32.const 0)))"),
    ("memory.grow refused", "(drop (memory.grow (i32.const 65000)))"),
    ("memory.grow", "(drop (memory.grow (local.get $one-in-a-hundred)))"),
    ("memory.fill", "(memory.fill (i32.const 0) (i32.const 1) (i32.const 9))"),
    ("memory.copy", "(memory.copy (i32.const 0) (i32.const 20) (i32.const 9))"),
    ("memory.init", "(memory.init $data (i32.const 0) (i32.const 0) (i32.const 3))"),
    ("data.drop", "(data.drop $dropped-data)"),
    ("table.get and set", "(table.set $table (i32.const 2) (table.get $table (i32.const 0)))"),
    ("table.size", "(local.set $a (table.size $table))"),
    ("table.grow by nothing", "(drop (table.grow $table (ref.null func) (i32.const 0)))"),
    ("table.grow refused", "(drop (table.grow $table (ref.null func) (i32.const 100)))"),
    ("table.grow", "(drop (table.grow $growing (ref.null func) (i32.const 1)))"),
    ("table.fill", "(table.fill $table (i32.const 2) (ref.null func) (i32.const 2))"),
    ("table.copy", "(table.copy $table $table (i32.const 2) (i32.const 0) (i32.const 2))"),
    ("table.init", "(table.init $table $elem (i32.const 2) (i32.const 0) (i32.const 1))"),
    ("elem.drop", "(elem.drop $dropped-elem)"),
    ("ref.func", "(local.set $r (ref.func $callee))"),
    ("ref.is_null", "(local.set $a (ref.is_null (local.get $r)))"),
];

fn module(instruction: &str) -> String {
    format!(
        r#"(module
        (import "" "note" (func $note))
        (import "" "host" (func $host))
        (import "" "values" (func $host-values (param i32 i64) (result i32)))
        (memory 1 200)
        (table $table 10 10 funcref)
        (table $growing 1 5000 funcref)
        (elem (table $table) (i32.const 0) func $callee $host)
        (elem $elem func $callee)
        (elem $dropped-elem func $callee)
        (elem declare func $callee)
        (data $data "abc")
        (data $dropped-data "abc")
        (global $g (mut i32) (i32.const 0))
        (global $gl (mut i64) (i64.const 0))
        (func $callee)
        (func $adder (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func $many (result i32 i64 i32) (i32.const 1) (i64.const 2) (i32.const 3))
        (func $recursive (param i32)
            (if (local.get 0) (then (call $recursive (i32.sub (local.get 0) (i32.const 1))))))
        (func $tail (param i32)
            (if (local.get 0) (then (return_call $tail (i32.sub (local.get 0) (i32.const 1))))))
        (func $tail-indirect (return_call_indirect $table (i32.const 0)))
        (func $tail-host (return_call $host))
        (func (export "f")
            (local $n i32) (local $a i32) (local $b i32) (local $l i64) (local $f f32) (local $d f64) (local $r funcref)
            (local $one-in-a-hundred i32)
            (call $note)
            (loop $again
                (local.set $one-in-a-hundred (i32.eqz (i32.rem_u (local.get $n) (i32.const 100))))
                {instruction}
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {ITERATIONS}))))
            (call $note)))"#
    )
}

/// Bytes of native stack that each passing of an instruction takes and does not release, and the fuel that it costs.
fn measure(engine: &Engine, instruction: &str) -> (f64, u64) {
    let depths = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&depths);
    let mut linker = Linker::<()>::new(engine);
    linker.func_wrap("", "note", move || note_depth(&noted)).unwrap();
    linker.func_wrap("", "host", || {}).unwrap();
    linker.func_wrap("", "values", |a: i32, _: i64| a).unwrap();
    let mut store = Store::new(engine, ());
    store.set_fuel(u64::MAX).unwrap();
    let bytes = wat::parse_str(module(instruction)).unwrap_or_else(|error| panic!("{instruction}: {error}"));
    let module = Module::new(engine, &bytes).unwrap();
    let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
    let func = instance.get_typed_func::<(), ()>(&store, "f").unwrap();
    func.call(&mut store, ()).unwrap_or_else(|error| panic!("{instruction}: {error}"));
    let depths = depths.lock().unwrap();
    let fuel = u64::MAX - store.get_fuel().unwrap();
    (depths[0].abs_diff(depths[1]) as f64 / ITERATIONS as f64, fuel / ITERATIONS as u64)
}

#[inline(never)]
fn note_depth(depths: &Mutex<Vec<usize>>) {
    let here = 0_u8;
    depths.lock().unwrap().push(std::ptr::from_ref(std::hint::black_box(&here)).addr());
}

/// Units of fuel that one slice has at most; the largest that calibration gives.
const LARGEST_SLICE: f64 = 1_000_000.0;

#[test]
fn no_loop_of_any_instruction_overflows_the_native_stack_within_a_slice() {
    let engine = Engine::new(&WasmChannelRuntime::engine_config());
    for (name, instruction) in INSTRUCTIONS {
        let (bytes, fuel) = measure(&engine, instruction);
        // A call of the host nests a second slice on the first.
        let stack = 2.0 * LARGEST_SLICE * bytes / fuel as f64;
        // The usual stack of a thread, less what the host's own calls need.
        let allowed = 1_500_000.0;
        assert!(stack < allowed, "{name}: {bytes} bytes of stack for {fuel} units of fuel, {stack} in all");
    }
}

#[test]
fn a_loop_that_only_grows_ends_in_its_fuel() {
    let rows = [
        ("memory, by nothing", "(local.set $n (i32.add (local.get $n) (memory.grow (local.get $zero))))"),
        ("memory, refused", "(drop (memory.grow (i32.const 60000)))"),
        ("table, by nothing", "(drop (table.grow $t (ref.null func) (local.get $zero)))"),
        ("table, refused", "(drop (table.grow $t (ref.null func) (i32.const 100000000)))"),
        ("table, one by one", "(drop (table.grow $t (ref.null func) (i32.const 1)))"),
    ];
    for (name, instruction) in rows {
        let body = format!("(local $zero i32) (local $n i32) (loop $again {instruction} (br $again))");
        let bench = Bench::of(Wat { more: "(table $t 1 funcref)".into(), ..Wat::poll(body) });
        let error = bench.poll_error();
        assert!(matches!(error, WasmChannelError::OutOfFuel { .. }), "{name}: {error:?}");
    }
}
