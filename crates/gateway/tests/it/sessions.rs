//! Sessions: how they are named, whom they belong to, and what is remembered of them.
