# SPDX-License-Identifier: Apache-2.0
# Policies and associations as tuples of numbers; `wsasec.policy` makes objects of them.

cdef extern from "wsasec_policy.h" nogil:
    enum:
        WSASEC_SESSION_DYNAMIC
        WSASEC_TRANSFORMS_MAX
        WSASEC_PROPOSALS_MAX
        WSASEC_AUTHENTICATIONS_MAX

    ctypedef struct wsasec_transform:
        uint32_t protocol
        uint32_t encryption
        uint32_t integrity

    ctypedef struct wsasec_proposal:
        uint32_t transform_count
        wsasec_transform *transforms
        uint32_t group
        uint32_t lifetime_seconds
        uint32_t lifetime_kilobytes
        uint32_t lifetime_packets
        uint32_t quick_mode_limit

    ctypedef struct wsasec_authentication:
        uint32_t method
        uint32_t flags
        uint32_t inbound_roots
        uint32_t outbound_roots
        uint32_t root_count
        uint32_t secret_len
        const void *secret

    ctypedef struct wsasec_ipsec_policy:
        wsasec_guid key
        uint32_t kind
        uint32_t persistent
        uint32_t flags
        uint32_t impersonation
        uint32_t dynamic_filters
        uint32_t retransmit_seconds
        uint32_t clear_seconds
        uint32_t idle_seconds
        uint32_t idle_failover_seconds
        uint32_t authentication_count
        uint32_t proposal_count
        uint16_t *name
        wsasec_authentication *authentications
        wsasec_proposal *proposals

    ctypedef struct wsasec_subnet:
        uint8_t *address
        uint8_t version
        uint8_t prefix

    ctypedef struct wsasec_association:
        uint64_t context_id
        uint64_t main_mode_id
        uint64_t filter_id
        wsasec_guid lookup
        uint32_t quick_mode_id
        uint32_t direction
        uint32_t spi
        uint32_t flags
        uint32_t tunnel
        uint32_t group
        wsasec_transform transform
        uint32_t lifetime_seconds
        uint32_t lifetime_kilobytes
        uint32_t lifetime_packets
        uint32_t idle_seconds
        uint8_t *local
        uint8_t *remote
        uint8_t version
        uint8_t ip_protocol
        uint16_t local_port
        uint16_t remote_port
        uint16_t local_udp_port
        uint16_t remote_udp_port

    ctypedef struct wsasec_credential_pair:
        uint32_t local_method
        uint32_t local_impersonation
        uint32_t peer_method
        uint32_t peer_impersonation

    ctypedef struct wsasec_ike_association:
        uint64_t id
        uint64_t initiator_cookie
        uint64_t responder_cookie
        wsasec_guid policy
        uint32_t key_module
        uint32_t credential_count
        wsasec_credential_pair *credentials
        wsasec_proposal proposal
        uint8_t *local
        uint8_t *remote
        uint8_t version
        uint16_t local_udp_port
        uint16_t remote_udp_port

    ctypedef struct wsasec_policy_session:
        pass
    ctypedef struct wsasec_policy_list:
        pass
    ctypedef struct wsasec_association_list:
        pass

    wsasec_policy_session *wsasec_policy_session_open(uint32_t, wsasec_status *)
    void wsasec_policy_session_close(wsasec_policy_session *)
    int32_t wsasec_policy_add(wsasec_policy_session *, const wsasec_ipsec_policy *, wsasec_status *)
    int32_t wsasec_policy_delete(wsasec_policy_session *, const wsasec_guid *, wsasec_status *)
    wsasec_policy_list *wsasec_policy_list_begin(wsasec_policy_session *, wsasec_status *)
    int32_t wsasec_policy_list_next(wsasec_policy_list *, wsasec_ipsec_policy *, wsasec_status *)
    void wsasec_policy_list_end(wsasec_policy_list *)
    wsasec_association_list *wsasec_association_list_begin(wsasec_policy_session *, const wsasec_subnet *,
                                                           const wsasec_subnet *, wsasec_status *)
    int32_t wsasec_association_list_next(wsasec_association_list *, wsasec_association *, wsasec_status *)
    void wsasec_association_list_end(wsasec_association_list *)
    int32_t wsasec_ike_association_get(wsasec_policy_session *, uint64_t, const wsasec_guid *,
                                       wsasec_ike_association *, wsasec_status *)


cdef object policy_failure(wsasec_status *status):
    """As failure(), with the system's own code, which errno translates."""
    error = failure(status, None)
    if status.os_error:
        error.winerror = <uint32_t>status.os_error
    return error


cdef int fill_guid(wsasec_guid *guid, bytes key) except -1:
    if len(key) != 16:
        raise ValueError("a GUID has 16 bytes")
    memcpy(guid, <const char *>key, 16)
    return 0


cdef bytes guid_bytes(const wsasec_guid *guid):
    return (<const char *>guid)[:16]


cdef bytes address_bytes(const uint8_t *address, unsigned version):
    """Four or sixteen bytes, or none."""
    return (<const char *>address)[:16 if version == 6 else 4 if version == 4 else 0]


cdef int fill_proposal(wsasec_proposal *to, tuple proposal) except -1:
    transforms, to.group, to.lifetime_seconds, to.lifetime_kilobytes, to.lifetime_packets, to.quick_mode_limit = proposal
    if len(transforms) > <Py_ssize_t>WSASEC_TRANSFORMS_MAX:
        raise ValueError(f"{len(transforms)} transforms in a proposal; at most {WSASEC_TRANSFORMS_MAX}")
    to.transform_count = 0
    for protocol, encryption, integrity in transforms:
        to.transforms[to.transform_count].protocol = protocol
        to.transforms[to.transform_count].encryption = encryption
        to.transforms[to.transform_count].integrity = integrity
        to.transform_count += 1
    return 0


cdef tuple transform_tuple(const wsasec_transform *transform):
    return transform.protocol, transform.encryption, transform.integrity


cdef tuple proposal_tuple(const wsasec_proposal *proposal):
    return (
        tuple([transform_tuple(&proposal.transforms[i]) for i in range(proposal.transform_count)]),
        proposal.group,
        proposal.lifetime_seconds,
        proposal.lifetime_kilobytes,
        proposal.lifetime_packets,
        proposal.quick_mode_limit,
    )


cdef int fill_policy(wsasec_ipsec_policy *to, tuple policy) except -1:
    """Fill it in; secrets are pointed to, and must outlive the use."""
    cdef wsasec_authentication *authentication
    cdef char *text
    cdef Py_ssize_t size
    memset(to, 0, sizeof(wsasec_ipsec_policy))
    (
        key, name, to.kind, to.persistent, to.flags, to.impersonation, to.dynamic_filters, to.retransmit_seconds,
        to.clear_seconds, to.idle_seconds, to.idle_failover_seconds, authentications, proposals,
    ) = policy
    fill_guid(&to.key, key)
    encoded = name.encode("utf-16-le")
    if len(encoded) > 510:
        raise ValueError("a name has at most 255 units of UTF-16")
    memcpy(to.name, <const char *>encoded, len(encoded))
    if len(authentications) > <Py_ssize_t>WSASEC_AUTHENTICATIONS_MAX:
        raise ValueError(f"{len(authentications)} authentications; at most {WSASEC_AUTHENTICATIONS_MAX}")
    for method, flags, inbound, outbound, secret in authentications:
        authentication = &to.authentications[to.authentication_count]
        authentication.method = method
        authentication.flags = flags
        authentication.inbound_roots = inbound
        authentication.outbound_roots = outbound
        PyBytes_AsStringAndSize(secret, &text, &size)
        authentication.secret = text
        authentication.secret_len = <uint32_t>size
        to.authentication_count += 1
    if len(proposals) > <Py_ssize_t>WSASEC_PROPOSALS_MAX:
        raise ValueError(f"{len(proposals)} proposals; at most {WSASEC_PROPOSALS_MAX}")
    for proposal in proposals:
        fill_proposal(&to.proposals[to.proposal_count], proposal)
        to.proposal_count += 1
    return 0


cdef tuple policy_tuple(const wsasec_ipsec_policy *policy):
    """As fill_policy() takes it, but with the number of root certificates for the secret."""
    cdef const wsasec_authentication *authentication
    cdef Py_ssize_t length = 0
    cdef uint32_t i
    while policy.name[length]:
        length += 1
    authentications = []
    for i in range(policy.authentication_count):
        authentication = &policy.authentications[i]
        authentications.append((authentication.method, authentication.flags, authentication.inbound_roots,
                                authentication.outbound_roots, authentication.root_count))
    return (
        guid_bytes(&policy.key),
        (<const char *>policy.name)[:2 * length].decode("utf-16-le", "replace"),
        policy.kind,
        bool(policy.persistent),
        policy.flags,
        policy.impersonation,
        policy.dynamic_filters,
        policy.retransmit_seconds,
        policy.clear_seconds,
        policy.idle_seconds,
        policy.idle_failover_seconds,
        tuple(authentications),
        tuple([proposal_tuple(&policy.proposals[i]) for i in range(policy.proposal_count)]),
    )


cdef dict association_dict(const wsasec_association *found):
    return {
        "context_id": found.context_id,
        "main_mode_id": found.main_mode_id,
        "filter_id": found.filter_id,
        "lookup": guid_bytes(&found.lookup),
        "quick_mode_id": found.quick_mode_id,
        "direction": found.direction,
        "spi": found.spi,
        "flags": found.flags,
        "tunnel": bool(found.tunnel),
        "group": found.group,
        "transform": transform_tuple(&found.transform),
        "lifetime_seconds": found.lifetime_seconds,
        "lifetime_kilobytes": found.lifetime_kilobytes,
        "lifetime_packets": found.lifetime_packets,
        "idle_seconds": found.idle_seconds,
        "local": address_bytes(found.local, found.version),
        "remote": address_bytes(found.remote, found.version),
        "ip_protocol": found.ip_protocol,
        "local_port": found.local_port,
        "remote_port": found.remote_port,
        "udp_ports": (found.local_udp_port, found.remote_udp_port),
    }


cdef int fill_subnet(wsasec_subnet *to, object subnet) except -1:
    """subnet: None, or (address as bytes, prefix)."""
    memset(to, 0, sizeof(wsasec_subnet))
    if subnet is None:
        return 0
    address, prefix = subnet
    if len(address) not in (4, 16):
        raise ValueError("an address has 4 or 16 bytes")
    memcpy(to.address, <const char *>address, len(address))
    to.version = 4 if len(address) == 4 else 6
    to.prefix = prefix
    return 0


@cython.no_gc
cdef class PolicySession:
    """A session with what keeps the system's IPsec policies; `wsasec.policy.Session` has the comfort.

    Not for two threads at once.
    """

    cdef wsasec_policy_session *session

    def __cinit__(self, bint dynamic):
        cdef wsasec_status status
        cdef uint32_t flags = WSASEC_SESSION_DYNAMIC if dynamic else 0
        cdef wsasec_policy_session *session
        with nogil:
            session = wsasec_policy_session_open(flags, &status)
        if session is NULL:
            raise policy_failure(&status)
        self.session = session

    def __dealloc__(self):
        wsasec_policy_session_close(self.session)

    def __reduce__(self):
        raise TypeError("a session cannot be pickled")

    cdef int check(self) except -1:
        if self.session is NULL:
            raise ValueError("the session is closed")
        return 0

    def close(self):
        """End it; more than once is no error."""
        cdef wsasec_policy_session *session = self.session
        self.session = NULL
        with nogil:
            wsasec_policy_session_close(session)

    def add(self, tuple policy not None):
        """Add a policy as `wsasec.policy` describes it."""
        cdef wsasec_ipsec_policy *filled
        cdef wsasec_status status
        cdef int32_t code
        self.check()
        filled = <wsasec_ipsec_policy *>malloc(sizeof(wsasec_ipsec_policy))
        if filled is NULL:
            raise MemoryError()
        try:
            fill_policy(filled, policy)
            with nogil:
                code = wsasec_policy_add(self.session, filled, &status)
        finally:
            free(filled)
        if code:
            raise policy_failure(&status)

    def delete(self, bytes key not None):
        """Delete the policy with this GUID (16 bytes, as UUID.bytes_le)."""
        cdef wsasec_status status
        cdef wsasec_guid guid
        cdef int32_t code
        self.check()
        fill_guid(&guid, key)
        with nogil:
            code = wsasec_policy_delete(self.session, &guid, &status)
        if code:
            raise policy_failure(&status)

    def policies(self):
        """Return a list of policies, as add() takes them, but with numbers of root certificates for secrets."""
        cdef wsasec_ipsec_policy *policy
        cdef wsasec_policy_list *found
        cdef wsasec_status status
        cdef int32_t code = 1
        self.check()
        policy = <wsasec_ipsec_policy *>malloc(sizeof(wsasec_ipsec_policy))
        if policy is NULL:
            raise MemoryError()
        with nogil:
            found = wsasec_policy_list_begin(self.session, &status)
        if found is NULL:
            free(policy)
            raise policy_failure(&status)
        result = []
        try:
            while True:
                with nogil:
                    code = wsasec_policy_list_next(found, policy, &status)
                if code != 1:
                    break
                result.append(policy_tuple(policy))
        finally:
            wsasec_policy_list_end(found)
            free(policy)
        if code:
            raise policy_failure(&status)
        return result

    def associations(self, local, remote):
        """Return a list of dicts. local, remote: None, or (address as bytes, prefix)."""
        cdef wsasec_association association
        cdef wsasec_association_list *found
        cdef wsasec_subnet subnets[2]
        cdef wsasec_status status
        cdef int32_t code = 1
        self.check()
        fill_subnet(&subnets[0], local)
        fill_subnet(&subnets[1], remote)
        with nogil:
            found = wsasec_association_list_begin(self.session, &subnets[0], &subnets[1], &status)
        if found is NULL:
            raise policy_failure(&status)
        result = []
        try:
            while True:
                with nogil:
                    code = wsasec_association_list_next(found, &association, &status)
                if code != 1:
                    break
                result.append(association_dict(&association))
        finally:
            wsasec_association_list_end(found)
        if code:
            raise policy_failure(&status)
        return result

    def ike_association(self, uint64_t number, lookup):
        """Return a dict. lookup: None, or a GUID as 16 bytes."""
        cdef wsasec_ike_association found
        cdef wsasec_status status
        cdef wsasec_guid guid
        cdef bint any_context = lookup is None
        cdef int32_t code
        cdef uint32_t i
        self.check()
        if not any_context:
            fill_guid(&guid, lookup)
        with nogil:
            code = wsasec_ike_association_get(self.session, number, NULL if any_context else &guid, &found, &status)
        if code:
            raise policy_failure(&status)
        return {
            "number": found.id,
            "cookies": (found.initiator_cookie, found.responder_cookie),
            "policy": guid_bytes(&found.policy),
            "key_module": found.key_module,
            "credentials": [
                (found.credentials[i].local_method, found.credentials[i].local_impersonation,
                 found.credentials[i].peer_method, found.credentials[i].peer_impersonation)
                for i in range(min(found.credential_count, <uint32_t>WSASEC_AUTHENTICATIONS_MAX))
            ],
            "proposal": proposal_tuple(&found.proposal),
            "local": address_bytes(found.local, found.version),
            "remote": address_bytes(found.remote, found.version),
            "udp_ports": (found.local_udp_port, found.remote_udp_port),
        }
