//! What to try next.

use crate::cli::demo::agent::{ADJUSTER, SESSION};
use crate::cli::demo::page::Page;
use crate::cli::demo::stage::{JUNIOR, MANAGER, Stage};

/// Says what is there, or how to have it there.
pub(in crate::cli::demo) fn tell(stage: &Stage, page: &Page, is_kept: bool) {
    if !is_kept {
        page.text("`portcullis demo --keep` leaves everything running and says what to try next.");
        return;
    }
    page.text("Everything runs. Try this in another terminal:");
    page.verbatim(&commands(stage));
    page.text("The rules and the configuration are taken in as you save them.");
    page.text("Ctrl-C stops everything; the files stay.");
}

fn commands(stage: &Stage) -> String {
    let (program, directory, url) = (stage.program().display(), stage.directory().display(), stage.gateway_url());
    let [port, _] = stage.replica_ports();
    format!(
        r#"cd {directory}
alias portcullis={program}

# the conversation, and what it cost
portcullis session show {JUNIOR}:{SESSION}
portcullis session list

# the record
portcullis journal verify
portcullis journal show --stream session/{JUNIOR}:{SESSION} --bodies

# go on with the session; the limit still holds
portcullis demo part agent --url {url} --key-file {JUNIOR}.key --session {SESSION} --say 'Pay $60,000.'

# the manager's limit is another one
portcullis demo part agent --url {url} --key-file {MANAGER}.key --session claim-100 --say 'Pay $60,000 for claim-100.'
cat payments.jsonl

# the agent behind the gateway, on one of its replicas
portcullis demo part replica --port {port} --url {url} --key-file {JUNIOR}.key &
curl -s {url}/agents/{ADJUSTER}/run -H "Authorization: Bearer $(cat {JUNIOR}.key)" \
  -H 'Portcullis-Session: claim-101' -d '{{"say":"Please look into claim-101."}}'

# any OpenAI client, with the session in its base URL
curl -s {url}/s/{SESSION}/v1/chat/completions -H "Authorization: Bearer $(cat {JUNIOR}.key)" \
  -H 'Content-Type: application/json' -d '{{"model":"scripted","messages":[{{"role":"user","content":"hello"}}]}}'

# another limit: it holds for the next call
sed -i 's/approval_limit: 10000.00/approval_limit: 60000.00/' portcullis.yaml"#
    )
}
