//! `portcullis demo`: the claims adjuster, played on real processes.
//!
//! The gateway, the scripted model, the claims server and the agent are processes of their own, all of them this program. The demo starts and kills them, tells each step as it
//! happens, and holds every fact that it shows against what the gateway's API, the journal and the payments file say. A fact that is not as the story says ends it with exit code 1.
//! It knows the gateway from outside only, as any client would; only the journal at the end is read by the library, since that is what an auditor does.
//!
//! Start with [`story`], the order of the chapters, each of which has a file in [`chapters`]. [`stage`] owns the processes and files, [`agent`] and [`record`] are how the story
//! looks at an agent and at the journal, [`page`] is how it is printed, and [`part`] is what the other processes run.

mod run;

mod chapters;
mod story;

mod agent;
mod page;
mod record;
mod stage;
mod template;
mod trouble;

mod part;

pub(super) use run::run;
