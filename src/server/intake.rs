//! One request as it comes in, without the socket: bytes go in, and a complete request or a refusal comes out.

use super::access_log::LoggedRequest;
use super::chunked::ChunkedDecoder;
use super::head::{Framing, Head, HeadScanner, downgrade_version, read_head};
use super::limits::OWN_BODY_BYTES;
use super::memory::Memory;
use super::reply::Rejection;
use super::{HeadDecision, Response, ServerLimits, wire};

/// Bytes to read at a time while the head is incomplete. What of it belongs to the body fits into the connection's own
/// part, so that it never has to be asked for.
const HEAD_READ: usize = OWN_BODY_BYTES;

/// Reading goes on with less room than this only when no more is to be had.
const SMALLEST_ROOM: usize = 1 << 10;

/// A request being read.
pub(crate) struct Intake {
    stage: Stage,
    /// Taken from the memory that all bodies share.
    charged: u64,
    /// What the head asked for, for the access log.
    asked: Option<Box<LoggedRequest>>,
}

enum Stage {
    Head {
        scanner: HeadScanner,
        bytes: Vec<u8>,
    },
    Body(Body),
    /// Complete or refused.
    Over,
}

struct Body {
    start: Start,
    bytes: Vec<u8>,
    /// How long `bytes` may become without asking for more memory.
    granted: usize,
    framing: BodyFraming,
}

enum BodyFraming {
    Length(usize),
    Chunked { decoder: ChunkedDecoder, limit: usize },
}

/// What is kept of the head while the body comes.
struct Start {
    wire_head: String,
    is_head_request: bool,
    wants_close: bool,
}

/// What is the same for every request.
pub(crate) struct IntakeRules<'a> {
    pub(crate) limits: &'a ServerLimits,
    /// What becomes of a request, by its method and path.
    pub(crate) head_check: &'a dyn Fn(&str, &str) -> HeadDecision,
    /// Whether there is an access log.
    pub(crate) notes_requests: bool,
}

/// How far a request has come.
pub(crate) enum Progress {
    /// More bytes are needed for the head.
    Head,
    /// More bytes are needed for the body. `send_continue` says, once, that the client waits for `100 Continue`.
    Body { send_continue: bool },
    /// Everything is there.
    Complete(Complete),
    /// The head alone decided.
    Respond { response: Response, is_head_request: bool },
}

/// A request within all bounds.
pub(crate) struct Complete {
    /// The head for tiny_http, to be ended by [`wire::finish_head`].
    pub(crate) wire_head: String,
    pub(crate) body: Vec<u8>,
    /// The response to it has no body.
    pub(crate) is_head_request: bool,
    /// The connection cannot serve another request: the client does not want it, or has sent more than one at a time.
    pub(crate) wants_close: bool,
}

/// A refusal, and whether its response may have a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefusedRequest {
    pub(crate) refusal: Rejection,
    pub(crate) with_body: bool,
}

impl From<Rejection> for RefusedRequest {
    fn from(refusal: Rejection) -> Self {
        RefusedRequest { refusal, with_body: true }
    }
}

impl Intake {
    pub(crate) fn new() -> Self {
        Intake {
            stage: Stage::Head { scanner: HeadScanner::default(), bytes: Vec::new() },
            charged: 0,
            asked: None,
        }
    }

    /// What the head asked for, once it is there and if there is an access log.
    pub(crate) fn take_asked(&mut self) -> Option<Box<LoggedRequest>> {
        self.asked.take()
    }

    /// Whether nothing of a request has come yet.
    pub(crate) fn is_untouched(&self) -> bool {
        matches!(&self.stage, Stage::Head { bytes, .. } if bytes.is_empty())
    }

    /// Whether the head is complete and the body is not.
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.stage, Stage::Body(_))
    }

    /// Bytes that were taken from the shared memory for this request; whoever ends it releases them.
    pub(crate) fn charged(&self) -> u64 {
        self.charged
    }

    /// The refusal as a response to this request.
    pub(crate) fn refused(&self, refusal: Rejection) -> RefusedRequest {
        let with_body = !matches!(&self.stage, Stage::Body(body) if body.start.is_head_request);
        RefusedRequest { refusal, with_body }
    }

    /// How many bytes may be read now. Zero when memory for more is not to be had at present.
    pub(crate) fn room(&mut self, memory: &mut Memory) -> usize {
        match &mut self.stage {
            Stage::Head { .. } => HEAD_READ,
            Stage::Body(body) => body.room(memory, &mut self.charged),
            Stage::Over => 0,
        }
    }

    /// Takes in bytes, at most as many as there was [`room`](Self::room) for.
    pub(crate) fn feed(&mut self, bytes: &[u8], rules: &IntakeRules<'_>) -> Result<Progress, RefusedRequest> {
        match &mut self.stage {
            Stage::Head { scanner, bytes: head } => {
                let end = match scanner.scan(bytes, rules.limits) {
                    Ok(end) => end,
                    Err(refusal) => return Err(self.refuse(refusal)),
                };
                head.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
                let Some(end) = end else { return Ok(Progress::Head) };
                let mut head = std::mem::take(head);
                downgrade_version(&mut head);
                self.begin_body(&head, &bytes[end..], rules)
            }
            Stage::Body(_) => self.feed_body(bytes),
            Stage::Over => Err(self.refuse(Rejection::RequestLine)),
        }
    }

    fn begin_body(
        &mut self,
        head: &[u8],
        rest: &[u8],
        rules: &IntakeRules<'_>,
    ) -> Result<Progress, RefusedRequest> {
        let head = read_head(head, rules.limits).map_err(|refusal| self.refuse(refusal))?;
        self.asked = rules.notes_requests.then(|| Box::new(LoggedRequest::of(&head)));
        let is_head_request = head.method == "HEAD";
        let max_body_bytes = match decide(&head, rules) {
            HeadDecision::Read { max_body_bytes } => max_body_bytes,
            HeadDecision::Respond(response) => {
                self.stage = Stage::Over;
                return Ok(Progress::Respond { response, is_head_request });
            }
        };
        let body = Body::begin(&head, max_body_bytes)
            .map_err(|refusal| RefusedRequest { refusal, with_body: !is_head_request })
            .inspect_err(|_| self.stage = Stage::Over)?;
        self.stage = Stage::Body(body);
        match self.feed_body(rest)? {
            Progress::Body { .. } => {
                Ok(Progress::Body { send_continue: head.expects_continue && rest.is_empty() })
            }
            progress => Ok(progress),
        }
    }

    fn feed_body(&mut self, bytes: &[u8]) -> Result<Progress, RefusedRequest> {
        let Stage::Body(body) = &mut self.stage else { return Err(self.refuse(Rejection::RequestLine)) };
        let used = match body.take_in(bytes) {
            Ok(used) => used,
            Err(refusal) => return Err(self.refuse(refusal)),
        };
        if !body.is_complete() {
            return Ok(Progress::Body { send_continue: false });
        }
        let Stage::Body(body) = std::mem::replace(&mut self.stage, Stage::Over) else {
            unreachable!("matched above")
        };
        Ok(Progress::Complete(Complete {
            wire_head: body.start.wire_head,
            body: body.bytes,
            is_head_request: body.start.is_head_request,
            wants_close: body.start.wants_close || used < bytes.len(),
        }))
    }

    fn refuse(&mut self, refusal: Rejection) -> RefusedRequest {
        let refused = self.refused(refusal);
        self.stage = Stage::Over;
        refused
    }
}

/// What becomes of a request with this head.
fn decide(head: &Head<'_>, rules: &IntakeRules<'_>) -> HeadDecision {
    if head.is_about_server {
        // Nothing is to be said about the server as a whole (RFC 9110 section 9.3.7).
        return HeadDecision::Respond(Response { status: 204, headers: Vec::new(), body: Vec::new() });
    }
    (rules.head_check)(head.method, head.path())
}

impl Body {
    fn begin(head: &Head<'_>, limit: u64) -> Result<Self, Rejection> {
        let framing = match head.framing {
            Framing::Length(length) if length > limit => return Err(Rejection::BodyTooLarge),
            Framing::Length(length) => {
                BodyFraming::Length(usize::try_from(length).map_err(|_| Rejection::BodyTooLarge)?)
            }
            Framing::Chunked => BodyFraming::Chunked {
                decoder: ChunkedDecoder::new(),
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            },
        };
        let start = Start {
            wire_head: wire::write_head(head),
            is_head_request: head.method == "HEAD",
            wants_close: head.wants_close,
        };
        let mut body = Body { start, bytes: Vec::new(), granted: 0, framing };
        body.granted = body.most().min(OWN_BODY_BYTES);
        body.bytes.reserve_exact(body.granted);
        Ok(body)
    }

    /// How long the body is, or may become.
    fn most(&self) -> usize {
        match &self.framing {
            BodyFraming::Length(length) => *length,
            BodyFraming::Chunked { limit, .. } => *limit,
        }
    }

    fn room(&mut self, memory: &mut Memory, charged: &mut u64) -> usize {
        let most = self.most();
        if self.granted < most && self.granted - self.bytes.len() < SMALLEST_ROOM {
            let larger = self.granted.saturating_mul(2).min(most);
            let more = (larger - self.granted) as u64;
            if memory.take(more) {
                *charged += more;
                self.granted = larger;
                self.bytes.reserve_exact(larger - self.bytes.len());
            }
        }
        match &self.framing {
            // The decoder stops at the limit by itself, and the end of the last chunk needs room that data does not.
            BodyFraming::Chunked { .. } if self.granted == most => {
                (most - self.bytes.len()).max(SMALLEST_ROOM)
            }
            _ => self.granted - self.bytes.len(),
        }
    }

    /// Takes in bytes and says how many of them belong to this body.
    fn take_in(&mut self, bytes: &[u8]) -> Result<usize, Rejection> {
        match &mut self.framing {
            BodyFraming::Length(length) => {
                let used = bytes.len().min(*length - self.bytes.len());
                self.bytes.extend_from_slice(&bytes[..used]);
                Ok(used)
            }
            BodyFraming::Chunked { decoder, limit } => decoder.decode(bytes, &mut self.bytes, *limit as u64),
        }
    }

    fn is_complete(&self) -> bool {
        match &self.framing {
            BodyFraming::Length(length) => self.bytes.len() == *length,
            BodyFraming::Chunked { decoder, .. } => decoder.is_done(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100_000;

    fn check(_: &str, path: &str) -> HeadDecision {
        match path {
            "/small" => HeadDecision::Read { max_body_bytes: 10 },
            "/nope" => HeadDecision::Respond(Response::error(404, "not_found")),
            _ => HeadDecision::Read { max_body_bytes: LIMIT },
        }
    }

    /// A request to a path that nobody takes used to be read whole before its 404, and its body took memory that
    /// others waited for.
    #[test]
    fn a_head_that_decides_takes_no_memory_and_no_body() {
        for rest in [
            "Content-Length: 99999",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue\r\nContent-Length: 5",
        ] {
            let input = format!("POST /nope HTTP/1.1\r\nHost: a\r\n{rest}\r\n\r\n");
            let mut memory = Memory::new(1 << 20);
            let (intake, progress, _) = feed(input.as_bytes(), usize::MAX, &mut memory);
            let Ok(Progress::Respond { response, is_head_request: false }) = progress else {
                panic!("{rest}")
            };
            assert_eq!((response.status, intake.charged(), memory.used()), (404, 0, 0), "{rest}");
        }
    }

    #[test]
    fn a_request_about_the_whole_server_gets_its_response_after_its_head() {
        let progress = feed(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 3, &mut Memory::new(0)).1;
        assert!(matches!(progress, Ok(Progress::Respond { response, .. }) if response.status == 204));
    }

    /// Feeds the input in pieces of at most `piece` bytes, as far as there is room.
    fn feed(
        input: &[u8],
        piece: usize,
        memory: &mut Memory,
    ) -> (Intake, Result<Progress, RefusedRequest>, usize) {
        let limits = ServerLimits::default();
        let rules = IntakeRules { limits: &limits, head_check: &check, notes_requests: false };
        let mut intake = Intake::new();
        let (mut progress, mut used) = (Ok(Progress::Head), 0);
        while used < input.len() {
            let room = intake.room(memory).min(piece).min(input.len() - used);
            if room == 0 {
                break;
            }
            progress = intake.feed(&input[used..used + room], &rules);
            used += room;
            if !matches!(progress, Ok(Progress::Head | Progress::Body { .. })) {
                break;
            }
        }
        (intake, progress, used)
    }

    fn complete(input: &[u8], piece: usize) -> Complete {
        match feed(input, piece, &mut Memory::new(1 << 20)) {
            (_, Ok(Progress::Complete(complete)), _) => complete,
            (_, Err(refused), _) => panic!("refused: {refused:?}"),
            _ => panic!("incomplete"),
        }
    }

    fn post(length: usize) -> Vec<u8> {
        let mut input =
            format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        input.extend((0..length).map(|index| index as u8));
        input
    }

    fn chunked(length: usize, chunk: usize) -> Vec<u8> {
        let mut input = b"POST /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let body: Vec<u8> = (0..length).map(|index| index as u8).collect();
        for part in body.chunks(chunk) {
            input.extend(format!("{:x}\r\n", part.len()).into_bytes());
            input.extend(part);
            input.extend(b"\r\n");
        }
        input.extend(b"0\r\n\r\n");
        input
    }

    #[test]
    fn a_request_is_the_same_however_it_is_cut() {
        for piece in [1, 2, 17, 1000, usize::MAX] {
            for length in [0, 1, 10, OWN_BODY_BYTES, OWN_BODY_BYTES + 1, LIMIT as usize] {
                let expected: Vec<u8> = (0..length).map(|index| index as u8).collect();
                let plain = complete(&post(length), piece);
                assert_eq!(plain.wire_head, "POST /large HTTP/1.1\r\nhost: a\r\n");
                assert!(plain.body == expected && !plain.wants_close, "{length} bytes in pieces of {piece}");
                let decoded = complete(&chunked(length, 333), piece);
                assert!(
                    decoded.body == expected && !decoded.wants_close,
                    "{length} chunked bytes in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn a_body_may_have_its_limit_and_no_byte_more() {
        let rows = [
            ("Content-Length: 10\r\n\r\n0123456789", true),
            ("Content-Length: 11\r\n\r\n", false),
            ("Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", true),
            ("Transfer-Encoding: chunked\r\n\r\nb", false),
        ];
        for (rest, fits) in rows {
            let input = format!("POST /small?q HTTP/1.1\r\nHost: a\r\n{rest}");
            match feed(input.as_bytes(), usize::MAX, &mut Memory::new(0)).1 {
                Ok(Progress::Complete(_)) => assert!(fits, "{rest}"),
                Err(refused) => assert!(!fits && refused.refusal == Rejection::BodyTooLarge, "{rest}"),
                Ok(_) => panic!("{rest}: incomplete"),
            }
        }
    }

    #[test]
    fn a_second_request_sent_at_once_ends_the_connection() {
        let mut input = post(3);
        input.extend(b"GET / HTTP/1.1\r\n\r\n");
        let request = complete(&input, usize::MAX);
        assert!(request.wants_close && request.body == [0, 1, 2]);
    }

    #[test]
    fn continue_is_asked_for_once_and_only_while_the_body_is_missing() {
        let head = "POST /large HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
        let (_, progress, _) = feed(head.as_bytes(), usize::MAX, &mut Memory::new(0));
        assert!(matches!(progress, Ok(Progress::Body { send_continue: true })));
        for rest in ["a", "ab"] {
            let (_, progress, _) = feed(format!("{head}{rest}").as_bytes(), usize::MAX, &mut Memory::new(0));
            assert!(!matches!(progress, Ok(Progress::Body { send_continue: true })), "{rest}");
        }
    }

    #[test]
    fn small_bodies_need_no_shared_memory_and_large_ones_wait_for_it() {
        let mut memory = Memory::new(0);
        let (intake, progress, _) = feed(&post(OWN_BODY_BYTES), 5000, &mut memory);
        assert!(matches!(progress, Ok(Progress::Complete(_))) && intake.charged() == 0);

        let (mut intake, progress, used) = feed(&post(OWN_BODY_BYTES + 1), 5000, &mut memory);
        assert!(matches!(progress, Ok(Progress::Body { .. })) && used < OWN_BODY_BYTES + 100);
        assert_eq!(intake.room(&mut memory), 0);
        assert_eq!(intake.room(&mut Memory::new(1)), 1);
        assert_eq!(intake.charged(), 1);
    }

    #[test]
    fn no_more_memory_is_charged_than_a_body_can_need() {
        for input in [post(LIMIT as usize), chunked(LIMIT as usize, 1)] {
            let mut memory = Memory::new(1 << 30);
            let (intake, progress, _) = feed(&input, 4096, &mut memory);
            let Ok(Progress::Complete(request)) = progress else { panic!("incomplete") };
            assert_eq!(intake.charged(), LIMIT - OWN_BODY_BYTES as u64);
            assert_eq!(memory.used(), intake.charged());
            assert!(request.body.capacity() <= LIMIT as usize);
        }
    }

    #[test]
    fn refusals_of_a_head_request_carry_no_body() {
        let head = "HEAD /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (intake, _, _) = feed(head.as_bytes(), usize::MAX, &mut Memory::new(0));
        assert!(!intake.refused(Rejection::BodyTimeout).with_body);
        let (_, progress, _) = feed(format!("{head}zz").as_bytes(), usize::MAX, &mut Memory::new(0));
        assert_eq!(progress.err(), Some(RefusedRequest { refusal: Rejection::Chunk, with_body: false }));
    }
}
