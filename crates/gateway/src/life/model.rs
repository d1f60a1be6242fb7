//! A call of a model, on its way to where it runs.

use portcullis_domain::admission::Admitted;
use portcullis_interop::llm::chat::ChatRequest;

use crate::asking::Asking;
use crate::life::Gate;
use crate::life::credential::Upstream;
use crate::registry::Model;
use crate::reply::{ModelAnswer, UpstreamFault};
use crate::upstreams::model::ModelEndpoint;

impl Gate {
    /// Sends an admitted call to the model as it is in the place that was chosen for it.
    pub(super) async fn forward_model(
        &self,
        asking: &Asking,
        admitted: &Admitted,
        model: &Model,
        request: &ChatRequest,
    ) -> Result<ModelAnswer, UpstreamFault> {
        let name = model.capability.to_string();
        let mut presented = self.present(asking, Upstream::new(&name, &model.credential)).await?;
        loop {
            let endpoint = ModelEndpoint {
                uri: &model.chat_uri,
                authorization: presented.authorization(),
                timeout: model.timeout,
                is_stream: request.is_stream(),
            };
            let answer = self.egress.call_model(admitted, endpoint).await;
            if !presented.is_renewed(&answer).await? {
                return answer;
            }
        }
    }
}
