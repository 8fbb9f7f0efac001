/* SPDX-License-Identifier: Apache-2.0 */
/* From a reason to its Winsock code, its words and what to do about it: one row each. */
#include "errors.h"

#include <string.h>

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

static THREAD_LOCAL char last_detail[256];

static const struct {
    uint16_t code;
    const char *text;
    const char *hint;
} reasons[WSASEC_REASON_COUNT] = {
    [WSASEC_REASON_NONE] = {0, "no error", ""},
    [WSASEC_REASON_NOT_A_SOCKET] = {WSASEC_WSAENOTSOCK, "not a socket, or closed", "pass an open socket"},
    [WSASEC_REASON_NULL_WITH_LENGTH] = {WSASEC_WSAEFAULT, "the settings are NULL but have a length",
                                        "pass length 0 for the default policy"},
    [WSASEC_REASON_NULL_POINTER] = {WSASEC_WSAEFAULT, "a required pointer is NULL", "pass a buffer"},
    [WSASEC_REASON_SETTINGS_TOO_SHORT] = {WSASEC_WSAEMSGSIZE, "the settings are shorter than their structure",
                                          "8 bytes for protocol DEFAULT, at least 88 for IPSEC"},
    [WSASEC_REASON_STRINGS_TOO_LONG] = {WSASEC_WSAEMSGSIZE, "the strings run past the end of the settings",
                                        "string lengths are in bytes, counted from offset 84"},
    [WSASEC_REASON_BUFFER_TOO_SHORT] = {WSASEC_WSAEMSGSIZE, "the buffer is shorter than its structure",
                                        "see wsasec_types.h for the sizes"},
    [WSASEC_REASON_FAMILY] = {WSASEC_WSAEINVAL, "the address family is neither AF_INET nor AF_INET6",
                              "only IPv4 and IPv6 sockets can be secured"},
    [WSASEC_REASON_TYPE] = {WSASEC_WSAEINVAL, "the socket type is neither SOCK_STREAM nor SOCK_DGRAM",
                            "only stream and datagram sockets can be secured"},
    [WSASEC_REASON_FAMILY_UNSUPPORTED] = {WSASEC_WSAEAFNOSUPPORT, "the system does not support the address family",
                                          "enable IPv6 (kernel parameter ipv6.disable), or use IPv4"},
    [WSASEC_REASON_CONNECTED] = {WSASEC_WSAEISCONN, "the socket is connected", "secure it before connect()"},
    [WSASEC_REASON_LISTENING] = {WSASEC_WSAEINVAL, "the socket is listening", "secure it before bind()"},
    [WSASEC_REASON_BOUND] = {WSASEC_WSAEINVAL, "the socket is bound", "secure it before bind()"},
    [WSASEC_REASON_ALREADY_SECURED] = {WSASEC_WSAEINVAL, "the socket is secured already",
                                       "settings are given once in the life of a socket"},
    [WSASEC_REASON_FAILED_BEFORE] = {WSASEC_WSAEINVAL, "securing this socket failed before, and it is blocked",
                                     "close it and make a new one"},
    [WSASEC_REASON_PROTOCOL] = {WSASEC_WSAEINVAL, "SecurityProtocol is neither DEFAULT nor IPSEC",
                                "IPSEC2 is for queries only"},
    [WSASEC_REASON_LENGTH_OF_DEFAULT] = {WSASEC_WSAEINVAL, "SecurityProtocol is DEFAULT but there are more than 8 bytes",
                                         "the IPSEC structure takes protocol IPSEC"},
    [WSASEC_REASON_SECURITY_FLAGS] = {WSASEC_WSAEINVAL, "SecurityFlags has unknown bits", "known bits are 0x3"},
    [WSASEC_REASON_IPSEC_FLAGS] = {WSASEC_WSAEINVAL, "IpsecFlags has unknown bits", "known bits are 0xf"},
    [WSASEC_REASON_RESERVED] = {WSASEC_WSAEINVAL, "a reserved member is not zero", "zero the structure first"},
    [WSASEC_REASON_STRING_LENGTH] = {WSASEC_WSAEINVAL, "a string's length is odd", "lengths are in bytes of UTF-16"},
    [WSASEC_REASON_QM_POLICY] = {WSASEC_WSAEINVAL, "AuthipQMPolicyKey names no profile",
                                 "define a profile with this GUID in /etc/wsasec/*.toml or WSASEC_CONFIG"},
    [WSASEC_REASON_MM_POLICY] = {WSASEC_WSAEINVAL, "AuthipMMPolicyKey is neither zero nor the profile's GUID",
                                 "leave it zero: one profile stands for both modes"},
    [WSASEC_REASON_NOT_ENCRYPTING] = {WSASEC_WSAEINVAL,
                                      "GUARANTEE_ENCRYPTION with a profile that may carry integrity-only SAs",
                                      "choose an encrypting profile"},
    [WSASEC_REASON_PEER_ADDRESS] = {WSASEC_WSAEINVAL, "a datagram socket needs the peer's address and port",
                                    "fill in PeerAddress"},
    [WSASEC_REASON_NOT_IMPLEMENTED] = {WSASEC_WSAEOPNOTSUPP, "this version has no such function on this system",
                                       "see README for what works where"},
    [WSASEC_REASON_PRIVILEGE] = {WSASEC_WSAEACCES, "needs CAP_NET_ADMIN in the network namespace's user namespace",
                                 "run as root, with the capability, or in `unshare -Urn`, or start the key daemon, "
                                 "wsasec up"},
    [WSASEC_REASON_NO_XFRM] = {WSASEC_WSAEPROTONOSUPPORT, "the kernel takes no IPsec policies",
                               "use a kernel with CONFIG_XFRM_USER (modprobe xfrm_user)"},
    [WSASEC_REASON_NO_MEMORY] = {WSASEC_WSAENOBUFS, "out of memory", "close sockets, or raise the memory limit"},
    [WSASEC_REASON_NO_DESCRIPTORS] = {WSASEC_WSAEMFILE, "no file descriptor left", "raise RLIMIT_NOFILE (ulimit -n)"},
    [WSASEC_REASON_NAMESPACE] = {WSASEC_WSAEACCES, "the socket's network namespace cannot be entered",
                                 "secure the socket from a thread in its namespace, on Linux 5.14 or newer"},
    [WSASEC_REASON_GUARD_POLICY_FOREIGN] = {WSASEC_WSAENETDOWN,
                                            "another policy has the mark of the profile's guard",
                                            "delete it (ip xfrm policy), or give the profile another mark"},
    [WSASEC_REASON_GUARD_POLICY_RIVAL] = {WSASEC_WSAENETDOWN,
                                          "an older system policy of priority 0 comes before the profile's guard",
                                          "give it a priority above 0 (ip xfrm policy), or delete it"},
    [WSASEC_REASON_GUARD_SYSCTL4] = {WSASEC_WSAENETDOWN, "net.ipv4.fwmark_reflect is off and cannot be set",
                                     "run sysctl -w net.ipv4.fwmark_reflect=1"},
    [WSASEC_REASON_GUARD_SYSCTL6] = {WSASEC_WSAENETDOWN, "net.ipv6.fwmark_reflect is off and cannot be set",
                                     "run sysctl -w net.ipv6.fwmark_reflect=1"},
    [WSASEC_REASON_GUARD_SA_UNMARKED] = {WSASEC_WSAENETDOWN,
                                         "an inbound SA of the profile does not set the mark of the guard",
                                         "add it with output-mark MARK mask MASK (strongSwan: set_mark_in)"},
    [WSASEC_REASON_SYSTEM] = {WSASEC_WSAENETDOWN, "the system refused", "see errno"},
    [WSASEC_REASON_SPECIFICATION] = {WSASEC_WSAEINVAL, "the specification of the sockets is wrong",
                                     "see its structure in the header"},
    [WSASEC_REASON_METHOD] = {WSASEC_WSAEOPNOTSUPP, "this method is not to be had here",
                              "take the method auto, which takes the fastest of those that are"},
    [WSASEC_REASON_ADDRESS_IN_USE] = {WSASEC_WSAEADDRINUSE, "the address is in use",
                                      "take another port, or port 0, or more source addresses"},
    [WSASEC_REASON_ADDRESS_NOT_HERE] = {WSASEC_WSAEADDRNOTAVAIL, "the address is not one of this host",
                                        "take one that `ip address` shows in this network namespace"},
    [WSASEC_REASON_FORBIDDEN] = {WSASEC_WSAEACCES, "the system forbids it",
                                 "look for a security module, a seccomp filter or a BPF program that does"},
    [WSASEC_REASON_PRIVILEGED_PORT] = {WSASEC_WSAEACCES, "the port is reserved for privileged programs",
                                       "take a port from 1024 on or port 0, or run with CAP_NET_BIND_SERVICE"},
    [WSASEC_REASON_URING_NOT_BUILT] = {WSASEC_WSAEOPNOTSUPP, "wsasec was built without io_uring",
                                       "build it where liburing-dev is installed, or take another method"},
    [WSASEC_REASON_URING_DISABLED] = {WSASEC_WSAEOPNOTSUPP, "io_uring is turned off for this process",
                                      "set the sysctl kernel.io_uring_disabled to 0, or take another method"},
    [WSASEC_REASON_URING_FORBIDDEN] = {WSASEC_WSAEOPNOTSUPP, "a seccomp filter or a security module forbids io_uring",
                                       "allow it (containers: their seccomp profile), or take another method"},
    [WSASEC_REASON_URING_TOO_OLD] = {WSASEC_WSAEOPNOTSUPP, "the kernel's io_uring sets no socket options",
                                     "use Linux 6.7 or newer with CONFIG_IO_URING, or take another method"},
    [WSASEC_REASON_NO_FILES] = {WSASEC_WSAEMFILE, "the system has no room for more open files",
                                "raise the sysctl fs.file-max, or close files in other programs"},
    [WSASEC_REASON_URING_MEMORY] = {WSASEC_WSAENOBUFS, "there is no memory for a ring of io_uring",
                                    "raise RLIMIT_MEMLOCK (ulimit -l), or take another method"},
    [WSASEC_REASON_WOULD_BLOCK] = {WSASEC_WSAEWOULDBLOCK, "no connection is waiting",
                                   "wait until the listener is readable"},
    [WSASEC_REASON_NOT_LISTENING] = {WSASEC_WSAEINVAL, "the socket is not listening", "call listen() first"},
    [WSASEC_REASON_CONNECTION_GONE] = {WSASEC_WSAECONNRESET, "the connection has ended",
                                       "accept, or make, the next one"},
    [WSASEC_REASON_NOT_SECURED] = {WSASEC_WSAEINVAL, "the socket is not secured",
                                   "secure it before bind(), or say that it is to be plain"},
    [WSASEC_REASON_PORT_SHARED] = {WSASEC_WSAEINVAL, "the socket shares its port (SO_REUSEPORT, or SO_REUSEADDR for datagrams)",
                                   "leave the option off: another socket on the port would take a part in clear"},
    [WSASEC_REASON_NO_THREADS] = {WSASEC_WSAENOBUFS, "no more threads can be started",
                                  "raise RLIMIT_NPROC (ulimit -u) or the cgroup's pids.max, or take fewer threads"},
    [WSASEC_REASON_NO_WINSOCK] = {WSASEC_WSANOTINITIALISED, "Winsock 2.2 does not start",
                                  "see the system's network settings; WSAStartup's error is the cause"},
    [WSASEC_REASON_NO_LIBRARY] = {WSASEC_WSAEOPNOTSUPP, "fwpuclnt.dll cannot be loaded from the system's folder",
                                  "use Windows Vista or newer, not Nano Server"},
    [WSASEC_REASON_NO_FUNCTION] = {WSASEC_WSAEOPNOTSUPP, "this system's fwpuclnt.dll lacks the function",
                                   "use Windows Vista or newer, not Nano Server"},
    [WSASEC_REASON_WINE] = {WSASEC_WSAEOPNOTSUPP, "this Wine does not implement the function",
                            "use Windows, or the Linux build of wsasec"},
    [WSASEC_REASON_PENDING] = {WSASEC_WSA_IO_PENDING, "the call is under way",
                               "keep its memory until it is completed"},
    [WSASEC_REASON_REFUSED] = {WSASEC_WSAEACCES, "the system refuses the call",
                               "see the rights of the account, and the system's IPsec policy"},
    [WSASEC_REASON_SERVICES] = {WSASEC_WSAENETDOWN, "the system's IPsec does not run",
                                "start the services BFE, IKEEXT and PolicyAgent"},
    [WSASEC_REASON_TIMED_OUT] = {WSASEC_WSAETIMEDOUT, "it was not done by the deadline", "allow more time"},
    [WSASEC_REASON_ADMINISTRATOR] = {WSASEC_WSAEACCES, "the system's IPsec policy is an administrator's to see and change",
                                     "run as an administrator (elevated)"},
    [WSASEC_REASON_ENGINE_DOWN] = {WSASEC_WSAENETDOWN, "the system's base filtering engine does not answer",
                                   "start the service BFE (net start bfe)"},
    [WSASEC_REASON_ENGINE_BUSY] = {WSASEC_WSAETIMEDOUT, "another program keeps the base filtering engine busy",
                                   "try again later"},
    [WSASEC_REASON_NO_SUCH_POLICY] = {WSASEC_WSAEINVAL, "there is no such policy, or association",
                                      "list what there is: it may be gone with its session"},
    [WSASEC_REASON_POLICY_EXISTS] = {WSASEC_WSAEINVAL, "there is a policy with this GUID already",
                                     "delete it, or choose another GUID"},
    [WSASEC_REASON_POLICY_IN_USE] = {WSASEC_WSAEINVAL, "the policy is in use", "close the sockets that use it"},
    [WSASEC_REASON_POLICY_OF_OTHERS] = {WSASEC_WSAEINVAL, "the policy does not belong to sessions of this kind",
                                        "dynamic sessions have only what they added, and nothing that persists"},
    [WSASEC_REASON_POLICY_VALUE] = {WSASEC_WSAEINVAL, "the system does not take the policy",
                                    "see its own code (FWP_E_... in winerror.h), and what this Windows supports"},
    [WSASEC_REASON_NO_DAEMON] = {WSASEC_WSAENETDOWN, "no key daemon runs in this network namespace",
                                 "start it: wsasec up"},
    [WSASEC_REASON_DAEMON_SILENT] = {WSASEC_WSAETIMEDOUT, "the key daemon does not answer",
                                     "look at wsasec status, or start it anew: wsasec down, wsasec up"},
    [WSASEC_REASON_DAEMON_ANSWER] = {WSASEC_WSAENETDOWN, "the key daemon speaks another version of the protocol",
                                     "start it anew with this version: wsasec down, wsasec up"},
    [WSASEC_REASON_DAEMON_BUSY] = {WSASEC_WSAENOBUFS, "the key daemon serves as many programs as it can",
                                   "try again later; see wsasec status"},
    [WSASEC_REASON_DAEMON_NAMESPACE] = {WSASEC_WSAEACCES,
                                        "the socket is of another network namespace than the key daemon",
                                        "run wsasec up in the socket's namespace"},
    [WSASEC_REASON_NOT_ALLOWED] = {WSASEC_WSAEACCES, "the configuration does not allow this user to do that",
                                   "see [[access]] in /etc/wsasec/wsasec.toml"},
    [WSASEC_REASON_NO_CHARON] = {WSASEC_WSAENETDOWN, "the IKE daemon (charon) does not answer",
                                 "see wsasec status, and start it anew: wsasec down, wsasec up"},
    [WSASEC_REASON_PEER_SILENT] = {WSASEC_WSAETIMEDOUT, "the peer does not answer IKE",
                                   "see that wsasec is up there, and that UDP 500 and 4500 and ESP pass the firewalls"},
    [WSASEC_REASON_NO_PROPOSAL] = {WSASEC_WSAEACCES, "the peer takes none of the proposals, or has no such profile",
                                   "compare the profiles of both hosts"},
    [WSASEC_REASON_AUTHENTICATION] = {WSASEC_WSAEACCES, "authentication failed",
                                      "see that each host trusts the other's certificate or key"},
    [WSASEC_REASON_OTHER_IDENTITY] = {WSASEC_WSAEACCES, "the peer is not whom the name asks for",
                                      "somebody else answers at this address, or the name is not in its certificate"},
    [WSASEC_REASON_NOT_TRANSPORT] = {WSASEC_WSAEACCES, "the peer insists on tunnel mode",
                                     "have it take transport mode"},
    [WSASEC_REASON_NEGOTIATION] = {WSASEC_WSAEACCES, "the negotiation failed", "see the log of the key daemon"},
    [WSASEC_REASON_UNREACHABLE] = {WSASEC_WSAENETUNREACH, "there is no route to the peer", "look at ip route"},
    [WSASEC_REASON_NO_ASSOCIATION] = {WSASEC_WSAENOTCONN, "no security association protects the connection now",
                                      "negotiate one: wsasec.negotiate()"},
    [WSASEC_REASON_NOT_CONNECTED] = {WSASEC_WSAENOTCONN, "the socket is not connected",
                                     "ask after connect() or accept()"},
    [WSASEC_REASON_NO_IDENTITY] = {WSASEC_WSAEACCES, "nobody has authenticated the peer",
                                   "its keys were not negotiated: start the key daemon, wsasec up"},
    [WSASEC_REASON_NO_ACCOUNT] = {WSASEC_WSAEACCES, "the peer's identity stands for no local account",
                                  "map it by [[account]] in /etc/wsasec/wsasec.toml"},
    [WSASEC_REASON_NON_BLOCKING] = {WSASEC_WSAEINVAL, "the socket is non-blocking",
                                    "make it blocking: settimeout(None)"},
    [WSASEC_REASON_NAME_FORM] = {WSASEC_WSAEINVAL, "the name has no form that a certificate could have",
                                 "name a host, \"host/NAME\", an e-mail address or a distinguished name"},
    [WSASEC_REASON_NO_NAME] = {WSASEC_WSAEINVAL, "no name was set for this peer", "set it first"},
    [WSASEC_REASON_TOKENS] = {WSASEC_WSAEOPNOTSUPP, "this system has no access tokens",
                              "ask with an access mask of 0, or impersonate the peer"},
    [WSASEC_REASON_IMPERSONATING] = {WSASEC_WSAEINVAL, "the thread acts as a peer already", "revert first"},
    [WSASEC_REASON_IDENTITY_PRIVILEGE] = {WSASEC_WSAEACCES, "needs CAP_SETUID and CAP_SETGID",
                                          "run as root, or with these capabilities"},
    [WSASEC_REASON_NO_ABORT] = {WSASEC_WSAEOPNOTSUPP, "the connection cannot be aborted when its associations change",
                                "it takes TCP, and a kernel with CONFIG_INET_DIAG_DESTROY"},
    [WSASEC_REASON_NO_DEVICE] = {WSASEC_WSAENETDOWN, "the profile's secure device is not in this network namespace",
                                 "start the engine (wsasec up), or look for ws<reqid> in ip link"},
    [WSASEC_REASON_DEVICE_DOWN] = {WSASEC_WSAENETDOWN, "the profile's secure device is down",
                                   "start the engine anew: wsasec down, wsasec up"},
    [WSASEC_REASON_DEVICE_UNVOUCHED] = {WSASEC_WSAENETDOWN,
                                        "nobody vouches for the rules around the profile's secure device",
                                        "see the log of the engine's keeper: what it found missing or changed"},
    [WSASEC_REASON_DEVICE_OTHER] = {WSASEC_WSAENETDOWN,
                                    "the device with the name of the profile's is another's, or no secure device",
                                    "compare reqid, mark and mask with its alias (ip link), and start the engine anew"},
    [WSASEC_REASON_DEVICE_RULES] = {WSASEC_WSAENETDOWN,
                                    "nftables changed, and nobody vouches for the rules around the secure device since",
                                    "see that the engine's keeper runs: wsasec status"},
    [WSASEC_REASON_DEVICE_REFLECT] = {WSASEC_WSAENETDOWN, "fwmark_reflect is off",
                                      "run sysctl -w net.ipv4.fwmark_reflect=1 net.ipv6.fwmark_reflect=1"},
    [WSASEC_REASON_NO_NFTABLES] = {WSASEC_WSAEPROTONOSUPPORT, "the kernel has no nftables",
                                   "use a kernel with CONFIG_NF_TABLES (modprobe nf_tables)"},
};

static const char *const steps[WSASEC_STEP_COUNT] = {
    [WSASEC_STEP_NONE] = "none",
    [WSASEC_STEP_DESCRIPTOR] = "descriptor",
    [WSASEC_STEP_BUFFER] = "buffer",
    [WSASEC_STEP_KIND] = "family and type",
    [WSASEC_STEP_STATE] = "state",
    [WSASEC_STEP_SETTINGS] = "settings",
    [WSASEC_STEP_EXCLUSIVE] = "exclusive port",
    [WSASEC_STEP_V6ONLY] = "IPV6_V6ONLY",
    [WSASEC_STEP_GUARD] = "guard",
    [WSASEC_STEP_POLICY_OUT] = "outbound policy",
    [WSASEC_STEP_POLICY_IN] = "inbound policy",
    [WSASEC_STEP_MARK] = "mark",
    [WSASEC_STEP_CREATE] = "socket",
    [WSASEC_STEP_OPTIONS] = "socket options",
    [WSASEC_STEP_BIND] = "bind",
    [WSASEC_STEP_CONNECT] = "connect",
    [WSASEC_STEP_ACCEPT] = "accept",
    [WSASEC_STEP_LISTENER] = "listener",
    [WSASEC_STEP_LIBRARY] = "fwpuclnt.dll",
    [WSASEC_STEP_SECURE] = "WSASetSocketSecurity",
    [WSASEC_STEP_QUERY] = "WSAQuerySocketSecurity",
    [WSASEC_STEP_SET_NAME] = "WSASetSocketPeerTargetName",
    [WSASEC_STEP_DELETE_NAME] = "WSADeleteSocketPeerTargetName",
    [WSASEC_STEP_IMPERSONATE] = "WSAImpersonateSocketPeer",
    [WSASEC_STEP_REVERT] = "WSARevertImpersonation",
    [WSASEC_STEP_ENGINE] = "base filtering engine",
    [WSASEC_STEP_POLICY_ADD] = "add policy",
    [WSASEC_STEP_POLICY_DELETE] = "delete policy",
    [WSASEC_STEP_POLICY_LIST] = "list policies",
    [WSASEC_STEP_ASSOCIATIONS] = "list associations",
    [WSASEC_STEP_IKE_ASSOCIATION] = "find association",
    [WSASEC_STEP_DAEMON] = "key daemon",
    [WSASEC_STEP_NEGOTIATE] = "negotiation",
    [WSASEC_STEP_DEVICE] = "secure device",
};

int32_t wsasec_fail(wsasec_status *status, unsigned step, unsigned reason, int32_t os_error)
{
    int32_t code = -(int32_t)reasons[reason].code;

    last_detail[0] = 0;
    if (status) {
        memset(status, 0, sizeof *status);
        status->code = code;
        status->os_error = os_error;
        status->step = (uint16_t)step;
        status->reason = (uint16_t)reason;
    }
    return code;
}

int32_t wsasec_fail_detail(wsasec_status *status, unsigned step, unsigned reason, int32_t os_error,
                           const char *detail)
{
    const int32_t code = wsasec_fail(status, step, reason, os_error);
    size_t length = strlen(detail);

    if (length >= sizeof last_detail)
        length = sizeof last_detail - 1;
    memcpy(last_detail, detail, length);
    last_detail[length] = 0;
    if (status && length)
        status->flags |= WSASEC_STATUS_DETAIL;
    return code;
}

const char *wsasec_detail(void)
{
    return last_detail;
}

int32_t wsasec_reason_code(unsigned reason)
{
    return reason < WSASEC_REASON_COUNT ? -(int32_t)reasons[reason].code : -WSASEC_WSAEINVAL;
}

const char *wsasec_reason_text(unsigned reason)
{
    return reason < WSASEC_REASON_COUNT ? reasons[reason].text : "unknown reason";
}

const char *wsasec_reason_hint(unsigned reason)
{
    return reason < WSASEC_REASON_COUNT ? reasons[reason].hint : "";
}

const char *wsasec_step_text(unsigned step)
{
    return step < WSASEC_STEP_COUNT ? steps[step] : "unknown step";
}
