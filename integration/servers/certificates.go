package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are an authority and what it signed: a certificate for servers on
// the loopback address, and one for their clients.
type Certificates struct {
	// Authority, ServerCert, ServerKey are files in PEM.
	Authority, ServerCert, ServerKey string

	// Client is how a client that has a certificate connects, and Server how a
	// server listens that wants one.
	Client, Server *tls.Config
}

// NewCertificates makes certificates for the test, good for a day.
func NewCertificates(t testing.TB) *Certificates {
	t.Helper()
	c, err := newCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signer is an authority: its certificate and key.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertificates(dir string) (*Certificates, error) {
	authority, authorityPEM, _, err := sign(nil, "authority")
	if err != nil {
		return nil, err
	}
	_, serverCert, serverKey, err := sign(authority, "server")
	if err != nil {
		return nil, err
	}
	_, clientCert, clientKey, err := sign(authority, "client")
	if err != nil {
		return nil, err
	}
	c := &Certificates{
		Authority:  filepath.Join(dir, "authority.pem"),
		ServerCert: filepath.Join(dir, "server.pem"),
		ServerKey:  filepath.Join(dir, "server.key"),
	}
	for file, content := range map[string][]byte{c.Authority: authorityPEM, c.ServerCert: serverCert, c.ServerKey: serverKey} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return nil, fmt.Errorf("servers: certificates: %w", err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorityPEM)
	client, e1 := tls.X509KeyPair(clientCert, clientKey)
	server, e2 := tls.X509KeyPair(serverCert, serverKey)
	if e1 != nil || e2 != nil {
		return nil, fmt.Errorf("servers: certificates: %w, %w", e1, e2)
	}
	c.Client = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{client}, MinVersion: tls.VersionTLS12}
	c.Server = &tls.Config{
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS12,
	}
	return c, nil
}

// sign makes a certificate, by itself if there is no authority.
func sign(by *signer, name string) (s *signer, certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("servers: certificates: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, IsCA: by == nil,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if by == nil {
		by = &signer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("servers: certificates: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("servers: certificates: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("servers: certificates: %w", err)
	}
	block := func(kind string, bytes []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
	}
	return &signer{cert, key}, block("CERTIFICATE", der), block("PRIVATE KEY", secret), nil
}
