//! The channels that come with the program, each against a fake of its service that refuses what the service refuses.

#[path = "../support/mod.rs"]
mod support;

mod fake;
mod form;
mod play;

mod matrix;
mod matrix_fake;
mod slack;
mod slack_fake;
mod telegram;
mod telegram_fake;
mod webhook;
