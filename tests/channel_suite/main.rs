//! The channels that come with the program, each against a fake of its service that refuses what the service refuses.

#[path = "../support/mod.rs"]
mod support;

mod fake;
mod form;
mod growing;
mod play;

mod discord;
mod discord_fake;
mod discord_gateway;
mod feishu;
mod feishu_fake;
mod matrix;
mod matrix_fake;
mod signal;
mod signal_fake;
mod slack;
mod slack_fake;
mod slack_socket;
mod slack_socket_fake;
mod telegram;
mod telegram_fake;
mod webchat;
mod webhook;
mod whatsapp;
mod whatsapp_fake;
