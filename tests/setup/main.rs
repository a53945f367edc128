//! `tinclaw setup`, `status` and accounts, through the program: an empty home, and fakes of the services behind
//! `http_rewrite`.

#[path = "../support/mod.rs"]
mod support;

#[path = "../cli_support/mod.rs"]
mod cli_support;

#[path = "../channel_suite/fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod fake;
#[path = "../channel_suite/form.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod form;
#[path = "../channel_suite/play.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod play;
#[path = "../channel_suite/slack_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod slack_fake;
#[path = "../channel_suite/telegram_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod telegram_fake;

mod accounts;
mod home;
mod slack;
mod status;
mod telegram;
mod terminal;
mod webhook;
