//! The sandbox through its public surface: what guests may do, and what happens to those that do more.

mod callback_cost;
mod calls;
mod copies;
mod dispatch;
mod guests;
mod hostile;
mod limits;
mod support;
mod wasi;
mod wechat;
