//! For whom, what and which action a rule is: its scope, settled without Cedar because it reads nothing but who is who.

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

/// An entity with all that it is in.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) uid: EntityUid,
    pub(crate) parents: Vec<EntityUid>,
}

impl Member {
    fn is_in(&self, group: &EntityUid) -> bool {
        self.uid == *group || self.parents.contains(group)
    }
}

/// The head of a rule, as in `principal in Role::"junior", action == Action::"claims__approve_payment", resource`.
#[derive(Debug)]
pub(crate) struct Scope {
    principal: PrincipalConstraint,
    action: ActionConstraint,
    resource: ResourceConstraint,
}

impl Scope {
    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            principal: policy.principal_constraint(),
            action: policy.action_constraint(),
            resource: policy.resource_constraint(),
        }
    }

    /// Whether the rule is for this principal.
    pub(crate) fn has_principal(&self, principal: &Member) -> bool {
        match &self.principal {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Eq(uid) => principal.uid == *uid,
            PrincipalConstraint::In(group) => principal.is_in(group),
            PrincipalConstraint::Is(ty) => principal.uid.type_name() == ty,
            PrincipalConstraint::IsIn(ty, group) => principal.uid.type_name() == ty && principal.is_in(group),
        }
    }

    /// Whether the rule is for this action on this resource.
    pub(crate) fn has_capability(&self, action: &Member, resource: &Member) -> bool {
        let has_action = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => action.uid == *uid,
            ActionConstraint::In(groups) => groups.iter().any(|group| action.is_in(group)),
        };
        has_action
            && match &self.resource {
                ResourceConstraint::Any => true,
                ResourceConstraint::Eq(uid) => resource.uid == *uid,
                ResourceConstraint::In(group) => resource.is_in(group),
                ResourceConstraint::Is(ty) => resource.uid.type_name() == ty,
                ResourceConstraint::IsIn(ty, group) => resource.uid.type_name() == ty && resource.is_in(group),
            }
    }

    /// Whether everybody whom `other` is for is somebody whom this is for. `is_in` knows who has which role.
    pub(crate) fn covers_principals(&self, other: &Self, is_in: impl Fn(&EntityUid, &EntityUid) -> bool) -> bool {
        use PrincipalConstraint::{Any, Eq, In, Is, IsIn};
        match (&self.principal, &other.principal) {
            // There is one type of principals only; validation has seen to it.
            (Any | Is(_), _) => true,
            (Eq(mine), Eq(others)) => mine == others,
            (In(mine) | IsIn(_, mine), In(others) | IsIn(_, others)) => mine == others,
            (In(mine) | IsIn(_, mine), Eq(others)) => mine == others || is_in(others, mine),
            (Eq(_) | In(_) | IsIn(..), Any | Is(_) | In(_) | IsIn(..)) => false,
        }
    }

    /// The actions that the rule names; none where it is for any.
    pub(crate) fn named_actions(&self) -> &[EntityUid] {
        match &self.action {
            ActionConstraint::Any => &[],
            ActionConstraint::Eq(uid) => std::slice::from_ref(uid),
            ActionConstraint::In(groups) => groups,
        }
    }
}
