package natsbus_test

import (
	"reflect"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
)

// What an option of nats.go means for a bus.
const (
	checked  = "checked by checkConnection"
	where    = "where to connect, and as whom: what goes wrong is an error of the calls"
	waiting  = "how long until the connection is back: docs/operations.md has a value"
	told     = "whom nats.go calls: the bus listens for itself"
	harmless = "does not matter to what this package calls"
)

// natsOptions says of each option of a connection what it means for a bus.
var natsOptions = map[string]string{
	"NoEcho": checked, "AllowReconnect": checked, "MaxReconnect": checked,
	"IgnoreAuthErrorAbort": checked, "PingInterval": checked, "FlusherTimeout": checked,

	"Url": where, "InProcessServer": where, "Servers": where, "NoRandomize": where, "Name": where,
	"Secure": where, "TLSConfig": where, "TLSCertCB": where, "TLSHandshakeFirst": where, "RootCAsCB": where,
	"UserJWT": where, "Nkey": where, "SignatureCB": where, "User": where, "Password": where, "UserInfo": where,
	"Token": where, "TokenHandler": where, "Dialer": where, "AllowMultipathTCP": where, "CustomDialer": where,
	"ProxyPath": where, "WebSocketConnectionHeaders": where, "WebSocketConnectionHeadersHandler": where,
	"SkipHostLookup": where, "Compression": where,

	"ReconnectWait": waiting, "CustomReconnectDelayCB": waiting, "ReconnectJitter": waiting,
	"ReconnectJitterTLS": waiting, "Timeout": waiting, "MaxPingsOut": waiting,
	"ReconnectOnFlusherError": "sooner than pings notice; what was lost is sent again by the bus",
	"IgnoreDiscoveredServers": "then all servers have to be named: docs/operations.md says so",

	"ClosedCB": told, "DisconnectedCB": told, "DisconnectedErrCB": told, "ConnectedCB": told, "ReconnectedCB": told,
	"DiscoveredServersCB": told, "AsyncErrorCB": told, "ReconnectErrCB": told, "NoCallbacksAfterClientClose": told,
	"LameDuckModeHandler": told,
	"ReconnectToServerCB": "chooses the server; one that gives none has nats.go go on as usual",

	"RetryOnFailedConnect": "matters to nats.Connect only: a connection may be given before it stands",
	"ReconnectBufSize":     "nothing is published while the connection is lost, but for the removal of consumers",
	"InboxPrefix":          "right for subscriptions of a Stream: docs/operations.md says so",
	"SubChanLen":           "of subscriptions that a Stream reads; what is dropped is found missing by its number",

	"Verbose": harmless, "Pedantic": harmless, "DrainTimeout": harmless, "UseOldRequestStyle": harmless,
	"PermissionErrOnSubscribe": harmless, "SkipSubjectValidation": "subjects are checked by the options of this package",
	"WriteBufferSize": harmless,
}

// TestNew_KnowsEveryOption fails when nats.go has another option: find out what it
// means for a bus.
func TestNew_KnowsEveryOption(t *testing.T) {
	var there, known []string
	for field := range reflect.TypeFor[nats.Options]().Fields() {
		there = append(there, field.Name)
	}
	for name := range natsOptions {
		known = append(known, name)
	}
	assert.ElementsMatch(t, there, known)
}
