//! `tinclaw setup`, `status` and accounts, through the program: an empty home, and fakes of the services behind
//! `http_rewrite`.

#[path = "../support/mod.rs"]
mod support;

#[path = "../cli_support/mod.rs"]
mod cli_support;

#[path = "../channel_suite/discord_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod discord_fake;
#[path = "../channel_suite/discord_gateway.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod discord_gateway;
#[path = "../channel_suite/fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod fake;
#[path = "../channel_suite/feishu_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod feishu_fake;
#[path = "../channel_suite/form.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod form;
#[path = "../channel_suite/matrix_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod matrix_fake;
#[path = "../channel_suite/play.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod play;
#[path = "../channel_suite/signal_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod signal_fake;
#[path = "../channel_suite/slack_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod slack_fake;
#[path = "../channel_suite/telegram_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod telegram_fake;

#[path = "../channel_suite/whatsapp_fake.rs"]
#[allow(dead_code, reason = "the suite of the channels uses all of it")]
mod whatsapp_fake;

mod accounts;
mod growing;
mod home;
mod services;
mod slack;
mod status;
mod telegram;
mod terminal;
mod webhook;
