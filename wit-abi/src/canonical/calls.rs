//! Every callback gets its arguments and every import leaves its result as the guest's side reads them.

use super::lift::{Arguments, Lift};
use super::lower::Lower;
use super::properties::FakeGuest;
use super::*;
use crate::abi_version::NamedAbiVersion;
use crate::exports::{self, GuestFunc};
use crate::imports::{self, HostCall, HostFunc};
use crate::types::*;

/// What a guest of this function reads of its arguments.
fn read_by_guest<T>(
    func: GuestFunc,
    lower: impl FnOnce(&mut FakeGuest) -> Result<CoreArgs, AbiError>,
    read: impl FnOnce(&mut Arguments<'_, '_>) -> Result<T, AbiError>,
) -> T {
    let mut guest = FakeGuest::new();
    let args = lower(&mut guest).unwrap();
    let types = func.core_type(&NamedAbiVersion::V0_3_1.abi_version()).params;
    let given: Vec<CoreType> = args
        .iter()
        .map(|value| match value {
            CoreValue::I32(_) => CoreType::I32,
            CoreValue::I64(_) => CoreType::I64,
        })
        .collect();
    assert_eq!(given, types, "{func}");
    guest.memory.resize(guest.memory.len() * 8, 0);
    read(&mut Arguments::new(&args, &guest.memory)).unwrap()
}

#[test]
fn each_callback_gets_its_own_arguments_in_their_order() {
    let version = NamedAbiVersion::V0_3_1.abi_version();
    let text = |text: &str| text.to_owned();
    let response = AgentResponse { content: text("hello"), thread_id: Some(text("t")), ..Default::default() };
    let request = IncomingHttpRequest { method: text("POST"), secret_validated: true, ..Default::default() };
    let call = ToolRequest { params: text("{}"), context: None };

    let config = read_by_guest(
        GuestFunc::OnStart,
        |guest| exports::lower_on_start("{}", guest),
        |args| args.next::<String>(),
    );
    assert_eq!(config, "{}");
    let read = read_by_guest(
        GuestFunc::OnHttpRequest,
        |guest| exports::lower_on_http_request(&request, guest),
        |args| args.next::<IncomingHttpRequest>(),
    );
    assert_eq!(read, request);
    let read = read_by_guest(
        GuestFunc::OnRespond,
        |guest| exports::lower_on_respond(&response, &version, guest),
        |args| args.next::<AgentResponse>(),
    );
    assert_eq!(read, response);
    let read = read_by_guest(
        GuestFunc::OnBroadcast,
        |guest| exports::lower_on_broadcast("ann", &response, &version, guest),
        |args| Ok((args.next::<String>()?, args.next::<AgentResponse>()?)),
    );
    assert_eq!(read, (text("ann"), response));
    let read = read_by_guest(
        GuestFunc::OnTimer,
        |guest| exports::lower_on_timer("daily", "payload", guest),
        |args| Ok((args.next::<String>()?, args.next::<String>()?)),
    );
    assert_eq!(read, (text("daily"), text("payload")));
    let read = read_by_guest(
        GuestFunc::OnSocketText,
        |guest| exports::lower_on_socket_text("frame", guest),
        |args| args.next::<String>(),
    );
    assert_eq!(read, "frame");
    for code in [Some(4_004), None] {
        let read = read_by_guest(
            GuestFunc::OnSocketClose,
            |guest| exports::lower_on_socket_close(code, "gone", guest),
            |args| Ok((args.next::<Option<u16>>()?, args.next::<String>()?)),
        );
        assert_eq!(read, (code, text("gone")));
    }
    let mut guest = FakeGuest::new();
    let args = exports::lower_execute(&call, &mut guest).unwrap();
    assert_eq!(Arguments::new(&args, &guest.memory).next::<ToolRequest>(), Ok(call));
}

#[test]
fn a_status_is_for_guests_that_know_it() {
    for (version, status, is_called) in [
        (NamedAbiVersion::V0_3_1, StatusType::Thinking, true),
        (NamedAbiVersion::V0_3_1, StatusType::AuthRequired, true),
        (NamedAbiVersion::Unversioned1, StatusType::Thinking, true),
        (NamedAbiVersion::Unversioned1, StatusType::AuthRequired, false),
    ] {
        let update = StatusUpdate { status, message: "soon".into(), metadata_json: "{}".into() };
        let mut guest = FakeGuest::new();
        let args = exports::lower_on_status(&update, &version.abi_version(), &mut guest).unwrap();
        let read = args.map(|args| Arguments::new(&args, &guest.memory).next::<StatusUpdate>().unwrap());
        assert_eq!(read, is_called.then_some(update), "{version:?}");
    }
}

/// A guest's memory with this value in it, and where.
fn returned<T: Lower>(value: &T) -> (u32, Vec<u8>) {
    let mut guest = FakeGuest::new();
    let at = guest.reserve(T::TYPE.align(), T::TYPE.size());
    lower_to_memory(value, at, &mut guest).unwrap();
    guest.memory.resize(guest.memory.len() * 8, 0);
    (at, guest.memory)
}

#[test]
fn results_of_each_callback_are_read_from_guest_memory() {
    let config = ChannelConfig { display_name: "Echo".into(), ..Default::default() };
    let (at, memory) = returned(&Ok::<_, String>(config.clone()));
    assert_eq!(exports::lift_on_start(at, &memory), Ok(Ok(config)));
    let response = OutgoingHttpResponse { status: 418, body: vec![7], ..Default::default() };
    let (at, memory) = returned(&response);
    assert_eq!(exports::lift_on_http_request(at, &memory), Ok(response));
    let (at, memory) = returned(&Err::<(), _>("no".to_owned()));
    assert_eq!(exports::lift_on_respond(at, &memory), Ok(Err("no".into())));
    assert_eq!(exports::lift_on_broadcast(at, &memory), Ok(Err("no".into())));
    let response = ToolResponse { output: Some("42".into()), error: None };
    let (at, memory) = returned(&response);
    assert_eq!(exports::lift_execute(at, &memory), Ok(response));
    let (at, memory) = returned(&"{}".to_owned());
    assert_eq!(exports::lift_text(at, &memory), Ok("{}".into()));
}

/// What a guest reads where it wanted the result of an import.
fn handed<T: Lift>(lower: impl FnOnce(&[CoreValue], &mut FakeGuest) -> Result<(), AbiError>) -> T {
    let mut guest = FakeGuest::new();
    let at = guest.reserve(T::TYPE.align(), T::TYPE.size());
    lower(&[CoreValue::I32(1), CoreValue::I32(at)], &mut guest).unwrap();
    guest.memory.resize(guest.memory.len() * 8, 0);
    lift_from_memory(at, &guest.memory).unwrap()
}

#[test]
fn each_import_leaves_its_result_where_the_last_argument_points() {
    let text = |text: &str| text.to_owned();
    let refused = Err::<(), _>(text("full"));
    assert_eq!(
        handed::<Result<(), String>>(|at, guest| imports::lower_nothing_or_error(at, &refused, guest)),
        refused
    );
    let read = Some(text("content"));
    assert_eq!(handed::<Option<String>>(|at, guest| imports::lower_workspace_read(at, &read, guest)), read);
    let response = Ok(HttpResponse { status: 418, body: vec![1], ..Default::default() });
    assert_eq!(
        handed::<Result<HttpResponse, String>>(|at, guest| imports::lower_http_request(at, &response, guest)),
        response
    );
    let output = Ok(text("42"));
    assert_eq!(
        handed::<Result<String, String>>(|at, guest| imports::lower_tool_invoke(at, &output, guest)),
        output
    );
    let pairing = Ok(PairingUpsertResult { code: text("K7"), created: true });
    assert_eq!(
        handed::<Result<PairingUpsertResult, String>>(|at, guest| {
            imports::lower_pairing_upsert_request(at, &pairing, guest)
        }),
        pairing
    );
    let allowed = Ok(true);
    assert_eq!(
        handed::<Result<bool, String>>(|at, guest| imports::lower_pairing_is_allowed(at, &allowed, guest)),
        allowed
    );
    let identity = Ok(Some(text("ann")));
    assert_eq!(
        handed::<Result<Option<String>, String>>(|at, guest| {
            imports::lower_pairing_resolve_identity(at, &identity, guest)
        }),
        identity
    );
    let names = Ok(vec![text("ann"), text("bob")]);
    assert_eq!(
        handed::<Result<Vec<String>, String>>(|at, guest| {
            imports::lower_pairing_read_allow_from(at, &names, guest)
        }),
        names
    );
}

#[test]
fn an_import_whose_result_is_a_core_value_needs_no_area_for_it() {
    let version = NamedAbiVersion::V0_3_1.abi_version();
    assert_eq!(HostCall::lift(HostFunc::NowMillis, &version, &[], &[]), Ok(HostCall::NowMillis));
}
