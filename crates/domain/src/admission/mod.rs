//! Admission: what may change the world is decided here, one file per verb.
//!
//! Every command is a plain value with everything that had to be waited for already in it. Its `decide` reads the world, changes nothing, and
//! returns the answer together with the entries that make it true. An engine writes the entries, applies them, and only then hands the answer out.
//!
//! Start with [`admit`], which asks the questions of a call in order and is the only maker of [`Admitted`], then [`settle`].

pub mod admit;
pub mod age_approval;
pub mod answer_approval;
pub mod bind_push;
pub mod cancel_task;
pub mod close_push;
pub mod close_session;
pub mod command;
pub mod configure;
pub mod declare_keys;
pub mod delegate;
pub mod delete_state;
pub mod disable;
pub mod end_wait;
pub mod freeze;
pub mod keep_records;
pub mod keys;
pub mod lift_label;
pub mod look;
pub mod note_delivery;
pub mod note_news;
pub mod note_task_over;
pub mod note_words;
pub mod observe_tools;
pub mod open_push;
pub mod open_session;
pub mod open_wait;
pub mod park;
pub mod parked;
pub mod put_state;
pub mod recover;
pub mod request;
pub mod resolve_call;
pub mod roll_back;
pub mod rotate_signing;
pub mod see_principal;
pub mod set_grant;
pub mod settle;
pub mod take_news;
pub mod withdraw_approval;

pub use admit::{Admit, Admitted, Passed};
pub use age_approval::{EscalateApproval, ExpireApproval};
pub use answer_approval::AnswerApproval;
pub use bind_push::BindPush;
pub use cancel_task::{CancelTask, Cancellation, EndCancel, NoteTask};
pub use close_push::ClosePush;
pub use close_session::CloseSession;
pub use command::{Command, Verdict};
pub use configure::{Activation, Configure};
pub use declare_keys::DeclareKeys;
pub use delegate::{Delegate, Delegation};
pub use delete_state::DeleteState;
pub use disable::Disable;
pub use end_wait::{EndWait, Ended};
pub use freeze::Freeze;
pub use keep_records::KeepRecords;
pub use keys::{CreateKey, RevokeKey, RotateKey};
pub use lift_label::LiftLabel;
pub use look::Look;
pub use note_delivery::NoteDelivery;
pub use note_news::NoteNews;
pub use note_task_over::NoteTaskOver;
pub use note_words::NoteWords;
pub use observe_tools::ObserveTools;
pub use open_push::OpenPush;
pub use open_session::OpenSession;
pub use open_wait::OpenWait;
pub use park::Park;
pub use put_state::{Put, PutState};
pub use recover::{Recover, RecoverGateway};
pub use request::{AnswerRequest, Keyed, Performed, RequestEnd, TakeRequest};
pub use resolve_call::ResolveCall;
pub use roll_back::{RollBack, RollForward};
pub use rotate_signing::RotateSigning;
pub use see_principal::SeePrincipal;
pub use set_grant::SetGrant;
pub use settle::{Receipt, Settle};
pub use take_news::{TakeNews, Taken};
pub use withdraw_approval::WithdrawApproval;
