//! Channels that are installed, upgraded, removed, enabled and disabled; the host that runs does it, or the files are changed when
//! none runs.
//!
//! | file | job |
//! |---|---|
//! | `request` | asking the running host |
//! | `host` | what it does |
//! | `reload` | the configuration, reloaded |
//! | `place` | where a channel's files are, and what was decided about it |
//! | `install` | `tinclaw install` and `upgrade` |
//! | `approve` | `tinclaw approve` |
//! | `asked` | what is to be approved: shown, and asked about |
//! | `outcome` | what the running host makes of a package that it has taken |
//! | `manage` | `tinclaw remove`, `enable`, `disable` and `reload` |
//! | `sign` | `tinclaw sign` and `tinclaw verify` |

mod approve;
mod asked;
mod host;
mod install;
mod manage;
mod outcome;
mod place;
mod reload;
mod request;
mod sign;

pub use approve::approve;
pub use asked::{ApprovalRequest, confirmed};
pub use install::{install, install_bundled, upgrade};
pub use manage::{disable, enable, reload, remove};
pub use sign::{sign, verify};
