//! Behaviour of the whole authenticator.
