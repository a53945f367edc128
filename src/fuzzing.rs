//! What the fuzz targets in `fuzz/` call. Compiled only for them (`--cfg fuzzing`): each function lies in the room that it
//! tests, so that nothing becomes public for it.

pub use crate::agent::fuzz::{agent_line, chat_stream};
pub use crate::egress::fuzz::{header_json, outbound_url};
pub use crate::link::fuzz::link_frames;
pub use crate::sandbox::fuzz::guest_binary;
pub use crate::secrets::fuzz::secrets_file;
pub use crate::server::fuzz::http_request;
pub use crate::store::fuzz::{database, database_rows};
pub use crate::tool::fuzz::{tool_capability_file, tool_parameters};
pub use crate::webhook::fuzz::webhook_signature;
