//! Lifting undoes lowering, and nothing that a guest's memory or allocator does harms the host.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::lift::{Arguments, Lift};
use super::lower::{ArgumentList, Lower};
use super::*;
use crate::abi_version::NamedAbiVersion;
use crate::exports;
use crate::imports::{HostCall, HostFunc};
use crate::types::*;

/// So many cases, unless `PROPTEST_CASES` asks for another number.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    if asked { ProptestConfig::default() } else { ProptestConfig::with_cases(usual) }
}

/// A guest of nothing but memory, whose allocator returns one piece after the other.
pub(super) struct FakeGuest {
    pub memory: Vec<u8>,
    next: u32,
}

impl FakeGuest {
    pub(super) fn new() -> Self {
        // Address 0 stays unused, as in most guests; what is not written is not zero.
        FakeGuest { memory: vec![0xaa; 64], next: 8 }
    }

    pub(super) fn reserve(&mut self, align: u32, size: u32) -> u32 {
        let address = self.next.next_multiple_of(align);
        self.next = address + size;
        let needed = (self.next as usize).max(self.memory.len());
        self.memory.resize(needed, 0xaa);
        address
    }
}

impl GuestAlloc for FakeGuest {
    type Error = AbiError;

    fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn realloc(&mut self, align: u32, size: u32) -> Result<u32, AbiError> {
        Ok(self.reserve(align, size))
    }
}

fn through_memory<T: Lift + Lower>(value: &T) -> Result<T, AbiError> {
    let mut guest = FakeGuest::new();
    let at = guest.reserve(T::TYPE.align(), T::TYPE.size());
    lower_to_memory(value, at, &mut guest)?;
    guest.memory.resize(guest.memory.len() * 8, 0);
    lift_from_memory(at, &guest.memory)
}

fn through_arguments<L: Lower, T: Lift>(value: &L) -> Result<T, AbiError> {
    let mut guest = FakeGuest::new();
    let mut list = ArgumentList::new(&mut guest);
    list.lower(value)?;
    let args = list.finish();
    assert_eq!(args.len(), T::TYPE.flat_count());
    guest.memory.resize(guest.memory.len() * 8, 0);
    Arguments::new(&args, &guest.memory).next()
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex(".{0,12}").unwrap()
}

fn inbound_attachment() -> impl Strategy<Value = InboundAttachment> {
    let optional = || option::of(text());
    (text(), text(), optional(), option::of(any::<u64>()), optional(), optional(), optional(), text())
        .prop_map(
            |(id, mime_type, filename, size_bytes, source_url, storage_key, extracted_text, extras_json)| {
                InboundAttachment {
                    id,
                    mime_type,
                    filename,
                    size_bytes,
                    source_url,
                    storage_key,
                    extracted_text,
                    extras_json,
                }
            },
        )
}

fn emitted_message() -> impl Strategy<Value = EmittedMessage> {
    let attachments = vec(inbound_attachment(), 0..3);
    (text(), option::of(text()), text(), option::of(text()), text(), attachments).prop_map(
        |(user_id, user_name, content, thread_id, metadata_json, attachments)| EmittedMessage {
            user_id,
            user_name,
            content,
            thread_id,
            metadata_json,
            attachments,
        },
    )
}

fn channel_config() -> impl Strategy<Value = ChannelConfig> {
    let endpoint = (text(), vec(text(), 0..4), any::<bool>())
        .prop_map(|(path, methods, require_secret)| HttpEndpointConfig { path, methods, require_secret });
    let poll =
        (any::<u32>(), any::<bool>()).prop_map(|(interval_ms, enabled)| PollConfig { interval_ms, enabled });
    (text(), vec(endpoint, 0..4), option::of(poll))
        .prop_map(|(display_name, http_endpoints, poll)| ChannelConfig { display_name, http_endpoints, poll })
}

fn agent_response() -> impl Strategy<Value = AgentResponse> {
    let attachment = (text(), text(), vec(any::<u8>(), 0..20))
        .prop_map(|(filename, mime_type, data)| Attachment { filename, mime_type, data });
    (text(), text(), option::of(text()), text(), vec(attachment, 0..3)).prop_map(
        |(message_id, content, thread_id, metadata_json, attachments)| AgentResponse {
            message_id,
            content,
            thread_id,
            metadata_json,
            attachments,
        },
    )
}

fn incoming_http_request() -> impl Strategy<Value = IncomingHttpRequest> {
    (text(), text(), text(), text(), vec(any::<u8>(), 0..40), any::<bool>()).prop_map(
        |(method, path, headers_json, query_json, body, secret_validated)| IncomingHttpRequest {
            method,
            path,
            headers_json,
            query_json,
            body,
            secret_validated,
        },
    )
}

fn http_response() -> impl Strategy<Value = HttpResponse> {
    (any::<u16>(), text(), vec(any::<u8>(), 0..40)).prop_map(|(status, headers_json, body)| HttpResponse {
        status,
        headers_json,
        body,
    })
}

fn status_type() -> impl Strategy<Value = StatusType> {
    use StatusType::*;
    proptest::sample::select(vec![
        Thinking,
        Done,
        Interrupted,
        ToolStarted,
        ToolCompleted,
        ToolResult,
        ApprovalNeeded,
        Status,
        JobStarted,
        AuthRequired,
        AuthCompleted,
    ])
}

fn log_level() -> impl Strategy<Value = LogLevel> {
    use LogLevel::*;
    proptest::sample::select(vec![Trace, Debug, Info, Warn, Error])
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn a_guest_reads_the_values_that_were_lowered(
        config in channel_config(),
        message in emitted_message(),
        response in agent_response(),
        request in incoming_http_request(),
        result in proptest::result::maybe_ok(http_response(), text()),
        names in proptest::result::maybe_ok(vec(text(), 0..5), text()),
        identity in proptest::result::maybe_ok(option::of(text()), text()),
        nothing in proptest::result::maybe_ok(Just(()), text()),
        pairing in (text(), any::<bool>()),
        status in (status_type(), text(), text()),
        level in log_level(),
    ) {
        let pairing = PairingUpsertResult { code: pairing.0, created: pairing.1 };
        let (status, text, metadata_json) = status;
        let update = StatusUpdate { status, message: text, metadata_json };
        let returned = result.clone().map(|r| OutgoingHttpResponse {
            status: r.status,
            headers_json: r.headers_json,
            body: r.body,
        });

        prop_assert_eq!(through_memory(&Ok(config.clone()) as &Result<_, String>)?, Ok(config));
        prop_assert_eq!(&through_memory(&message)?, &message);
        prop_assert_eq!(&through_arguments::<_, EmittedMessage>(&message)?, &message);
        prop_assert_eq!(&through_memory(&response)?, &response);
        prop_assert_eq!(&through_arguments::<_, AgentResponse>(&response)?, &response);
        prop_assert_eq!(&through_memory(&request)?, &request);
        prop_assert_eq!(&through_arguments::<_, IncomingHttpRequest>(&request)?, &request);
        prop_assert_eq!(&through_memory(&result)?, &result);
        prop_assert_eq!(&through_memory(&names)?, &names);
        prop_assert_eq!(&through_memory(&identity)?, &identity);
        prop_assert_eq!(&through_memory(&nothing)?, &nothing);
        prop_assert_eq!(&through_memory(&pairing)?, &pairing);
        prop_assert_eq!(&through_memory(&update)?, &update);
        prop_assert_eq!(&through_arguments::<_, StatusUpdate>(&update)?, &update);
        prop_assert_eq!(through_arguments::<_, LogLevel>(&level)?, level);
        if let Ok(returned) = returned {
            prop_assert_eq!(&through_memory(&returned)?, &returned);
        }
    }

    #[test]
    fn a_response_without_attachments_keeps_everything_else(response in agent_response()) {
        let lifted: WithoutAttachments<AgentResponse> = through_arguments(&WithoutAttachments(&response))?;
        prop_assert_eq!(lifted.0, AgentResponse { attachments: vec![], ..response });
    }

    #[test]
    fn no_memory_harms_the_host(
        memory in memory(),
        args in vec(argument(), MAX_CORE_ARGS),
        pointer in address(),
    ) {
        for named in NamedAbiVersion::ALL {
            let abi_version = named.abi_version();
            for func in HostFunc::ALL {
                let types = func.core_type(&abi_version).params;
                let args: Vec<CoreValue> = types.iter().zip(&args).map(|(ty, value)| match ty {
                    CoreType::I64 => CoreValue::I64(u64::from(*value)),
                    _ => CoreValue::I32(*value),
                }).collect();
                if let Ok(HostCall::EmitMessage(message)) = HostCall::lift(func, &abi_version, &args, &memory) {
                    prop_assert!(size_of_message(&message) <= memory.len());
                }
            }
        }
        if let Ok(Ok(config)) = exports::lift_on_start(pointer, &memory) {
            prop_assert!(size_of_config(&config) <= memory.len());
        }
        if let Ok(response) = exports::lift_on_http_request(pointer, &memory) {
            prop_assert!(response.headers_json.len() + response.body.len() <= memory.len());
        }
        let _ = exports::lift_on_respond(pointer, &memory);
        let _ = exports::lift_on_broadcast(pointer, &memory);
        let of_tools = [exports::lift_text(pointer, &memory).ok(), exports::lift_execute(pointer, &memory).ok().and_then(|response| response.output)];
        for text in of_tools.into_iter().flatten() {
            prop_assert!(text.len() <= memory.len());
        }
    }
}

/// Bytes that often are small numbers, so that pointers and lengths often are good.
fn memory() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => 0u32..64,
        2 => (0u32..64).prop_map(|word| word * 4),
        1 => any::<u32>(),
    ];
    vec(word, 0..128).prop_map(|words| words.into_iter().flat_map(u32::to_le_bytes).collect())
}

fn argument() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 0u32..2, 4 => 0u32..512, 1 => any::<u32>()]
}

fn address() -> impl Strategy<Value = u32> {
    prop_oneof![4 => (0u32..128).prop_map(|word| word * 4), 1 => any::<u32>()]
}

/// The bytes on the heap that a message takes in the host.
fn size_of_message(message: &EmittedMessage) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
    let attachments = message.attachments.iter().map(|attachment| {
        attachment.id.capacity()
            + attachment.mime_type.capacity()
            + optional(&attachment.filename)
            + optional(&attachment.source_url)
            + optional(&attachment.storage_key)
            + optional(&attachment.extracted_text)
            + attachment.extras_json.capacity()
    });
    message.user_id.capacity()
        + optional(&message.user_name)
        + message.content.capacity()
        + optional(&message.thread_id)
        + message.metadata_json.capacity()
        + message.attachments.capacity() * size_of::<InboundAttachment>()
        + attachments.sum::<usize>()
}

fn size_of_config(config: &ChannelConfig) -> usize {
    let endpoints = config.http_endpoints.iter().map(|endpoint| {
        endpoint.path.capacity()
            + endpoint.methods.capacity() * size_of::<String>()
            + endpoint.methods.iter().map(String::capacity).sum::<usize>()
    });
    config.display_name.capacity()
        + config.http_endpoints.capacity() * size_of::<HttpEndpointConfig>()
        + endpoints.sum::<usize>()
}

/// A memory of `size` bytes with 32-bit words at its beginning.
fn words(size: usize, words: &[u32]) -> Vec<u8> {
    let mut memory = vec![b'x'; size];
    for (word, bytes) in words.iter().zip(memory.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    memory
}

fn lift<T: Lift>(memory: &[u8]) -> Result<T, AbiError> {
    lift_from_memory(0, memory)
}

#[test]
fn a_string_may_end_with_the_memory_but_not_one_byte_later() {
    assert_eq!(lift::<String>(&words(64, &[60, 4])).unwrap(), "xxxx");
    assert_eq!(
        lift::<String>(&words(64, &[60, 5])),
        Err(AbiError::OutOfBounds { what: "a string", address: 60, len: 5, memory: 64 })
    );
    assert_eq!(lift::<String>(&words(64, &[64, 0])).unwrap(), "");
    assert!(lift::<String>(&words(64, &[65, 0])).is_err());
    assert!(lift::<String>(&words(64, &[u32::MAX, u32::MAX])).is_err());
}

#[test]
fn strings_that_overlap_take_no_more_than_the_memory() {
    // Every element is a string over the last 64 bytes.
    let strings = |count: u32, memory: usize| {
        let mut list = vec![8, count];
        (0..count).for_each(|_| list.extend([memory as u32 - 64, 64]));
        words(memory, &list)
    };
    let each = 64 + size_of::<String>() as u32;
    let fitting = 4096 / each;
    assert_eq!(lift::<Vec<String>>(&strings(fitting, 4096)).unwrap().len(), fitting as usize);
    let error = lift::<Vec<String>>(&strings(fitting + 1, 4096)).unwrap_err();
    assert!(matches!(error, AbiError::Oversized { memory: 4096, .. }), "{error}");
}

#[test]
fn the_arguments_of_one_call_may_take_exactly_the_size_of_the_memory() {
    let memory = [0; 64];
    let both = |second: u32| {
        let values = [8, 32, 0, second].map(CoreValue::I32);
        let mut args = Arguments::new(&values, &memory);
        args.next::<Vec<u8>>().and_then(|_| args.next::<Vec<u8>>())
    };
    assert_eq!(both(32).unwrap().len(), 32);
    assert_eq!(both(33), Err(AbiError::Oversized { needed: 33, left: 32, memory: 64 }));
}

#[test]
fn a_list_that_is_longer_than_the_memory_is_refused_before_it_is_read() {
    let error = lift::<Vec<String>>(&words(64, &[8, u32::MAX])).unwrap_err();
    let len = u64::from(u32::MAX) * 8;
    assert_eq!(error, AbiError::OutOfBounds { what: "a list", address: 8, len, memory: 64 });
}

#[test]
fn unaligned_pointers_are_refused() {
    let list = lift::<Vec<String>>(&words(64, &[10, 0]));
    assert_eq!(list, Err(AbiError::Unaligned { what: "a list", address: 10, align: 4 }));
    let area = lift_from_memory::<OutgoingHttpResponse>(2, &[0; 64]);
    assert_eq!(area, Err(AbiError::Unaligned { what: "the area for a result", address: 2, align: 4 }));
}

#[test]
fn discriminants_without_a_case_are_refused() {
    let option = lift::<Option<String>>(&words(64, &[2, 0, 0]));
    assert_eq!(option, Err(AbiError::InvalidDiscriminant { ty: "option", value: 2, cases: 2 }));
    let result = lift::<Result<(), String>>(&words(64, &[3, 0, 0]));
    assert_eq!(result, Err(AbiError::InvalidDiscriminant { ty: "result", value: 3, cases: 2 }));
    let flat = |value| Arguments::new(&[CoreValue::I32(value)], &[]).next::<LogLevel>();
    assert_eq!(flat(4), Ok(LogLevel::Error));
    for value in [5, 256, u32::MAX] {
        assert_eq!(flat(value), Err(AbiError::InvalidDiscriminant { ty: "log-level", value, cases: 5 }));
    }
}

#[test]
fn a_string_that_is_not_utf8_is_refused() {
    let mut memory = words(64, &[32, 3]);
    memory[32..35].copy_from_slice(&[b'a', 0xff, b'b']);
    assert_eq!(lift::<String>(&memory), Err(AbiError::InvalidUtf8 { address: 32, len: 3, valid: 1 }));
}

#[test]
fn every_bool_but_zero_is_true_and_narrow_integers_wrap() {
    let flat = |value| Arguments::new(&[CoreValue::I32(value)], &[]).next::<bool>().unwrap();
    assert_eq!([flat(0), flat(1), flat(256)], [false, true, true]);
    assert_eq!(Arguments::new(&[CoreValue::I32(0x1_0002)], &[]).next::<u16>(), Ok(2));
}

#[test]
fn a_long_integer_is_one_argument_of_its_own() {
    let values = [CoreValue::I64(1 << 40), CoreValue::I64(7), CoreValue::I32(3)];
    let mut arguments = Arguments::new(&values, &[]);
    assert_eq!((arguments.next::<u64>(), arguments.next::<u64>()), (Ok(1 << 40), Ok(7)));
    let expected = CoreType::I64;
    assert_eq!(arguments.next::<u64>(), Err(AbiError::WrongArgument { index: 2, expected }));
    assert_eq!(arguments.next::<u32>(), Ok(3));
}

#[test]
fn a_payload_that_is_narrower_than_the_other_one_lies_where_both_begin() {
    let memory = words(8, &[0, 1]);
    let memory = [&memory[..], &[0; 8]].concat();
    assert_eq!(lift::<Result<bool, String>>(&memory), Ok(Ok(true)));
}

#[test]
fn arguments_that_are_missing_or_of_another_type_are_an_error() {
    let error = |values: &[CoreValue]| Arguments::new(values, &[0; 8]).next::<String>().unwrap_err();
    let expected = CoreType::I32;
    assert_eq!(error(&[]), AbiError::WrongArgument { index: 0, expected });
    assert_eq!(error(&[CoreValue::I32(0)]), AbiError::WrongArgument { index: 1, expected });
    assert_eq!(
        error(&[CoreValue::I64(0), CoreValue::I32(0)]),
        AbiError::WrongArgument { index: 0, expected }
    );
}

/// An allocator that always gives the same address.
struct Liar {
    memory: Vec<u8>,
    address: u32,
}

impl GuestAlloc for Liar {
    type Error = AbiError;

    fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn realloc(&mut self, _: u32, _: u32) -> Result<u32, AbiError> {
        Ok(self.address)
    }
}

#[test]
fn an_allocator_that_lies_is_found_out() {
    let what = "what cabi_realloc returned";
    let lower = |address, value: &dyn Fn(&mut Liar) -> Result<CoreArgs, AbiError>| {
        value(&mut Liar { memory: vec![0; 64], address }).map(|args| args.to_vec())
    };
    let start = |guest: &mut Liar| exports::lower_on_start("twelve bytes", guest);
    assert!(lower(52, &start).is_ok());
    let out = |address| AbiError::OutOfBounds { what, address, len: 12, memory: 64 };
    assert_eq!(lower(53, &start), Err(out(53)));
    assert_eq!(lower(u32::MAX, &start), Err(out(u32::MAX)));

    let abi_version = NamedAbiVersion::V0_3_1.abi_version();
    let response = AgentResponse { attachments: vec![Attachment::default()], ..Default::default() };
    let respond = |guest: &mut Liar| exports::lower_on_respond(&response, &abi_version, guest);
    assert!(lower(8, &respond).is_ok());
    assert_eq!(lower(9, &respond), Err(AbiError::Unaligned { what, address: 9, align: 4 }));
}

#[test]
fn a_result_area_is_checked_before_the_call_and_when_it_is_written() {
    let abi_version = NamedAbiVersion::V0_3_1.abi_version();
    let memory = vec![0; 64];
    let call = |area| {
        let args = [0, 4, area].map(CoreValue::I32);
        HostCall::lift(HostFunc::WorkspaceRead, &abi_version, &args, &memory)
    };
    assert!(call(52).is_ok());
    assert!(matches!(call(56), Err(AbiError::OutOfBounds { address: 56, .. })));
    assert!(matches!(call(50), Err(AbiError::Unaligned { address: 50, .. })));

    let mut guest = FakeGuest::new();
    let write = |area, guest: &mut FakeGuest| lower_to_memory(&None::<String>, area, guest);
    assert!(write(52, &mut guest).is_ok());
    assert!(matches!(write(56, &mut guest), Err(AbiError::OutOfBounds { address: 56, .. })));
}

#[test]
fn the_allocator_is_asked_for_empty_strings_and_lists_too() {
    struct Counting(FakeGuest, Vec<(u32, u32)>);
    impl GuestAlloc for Counting {
        type Error = AbiError;
        fn memory(&mut self) -> &mut [u8] {
            &mut self.0.memory
        }
        fn realloc(&mut self, align: u32, size: u32) -> Result<u32, AbiError> {
            self.1.push((align, size));
            self.0.realloc(align, size)
        }
    }
    let mut guest = Counting(FakeGuest::new(), vec![]);
    let response = AgentResponse { content: "hi".into(), ..Default::default() };
    exports::lower_on_respond(&response, &NamedAbiVersion::V0_3_1.abi_version(), &mut guest).unwrap();
    assert_eq!(guest.1, [(1, 0), (1, 2), (1, 0), (4, 0)]);
}
