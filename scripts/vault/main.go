// Command vault is a Vault server for tests: Vault's own core and HTTP handler, in memory, on a free
// port of this machine. It has token and AppRole authentication, the KV engine and one engine of
// leased secrets. Its first line says where it is, its root token and the key that unseals it.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

var (
	engines = map[string]logical.Factory{"kv": kv.Factory, "leased": leased}
	logins  = map[string]logical.Factory{"approle": approle.Factory}
)

// leased gives a new password at each read of `creds/<ttl>/<max ttl>`, with a lease of that length.
func leased(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
	secret := &framework.Secret{
		Type: "password",
		Renew: func(_ context.Context, r *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
			return &logical.Response{Secret: r.Secret}, nil
		},
		Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
			return nil, nil
		},
	}
	read := func(_ context.Context, _ *logical.Request, d *framework.FieldData) (*logical.Response, error) {
		made := secret.Response(map[string]interface{}{"password": "dyn-" + rand.Text()}, nil)
		made.Secret.TTL = time.Duration(d.Get("ttl").(int)) * time.Second
		made.Secret.MaxTTL = time.Duration(d.Get("max").(int)) * time.Second
		made.Secret.Renewable = true
		return made, nil
	}
	backend := &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{secret},
		Paths: []*framework.Path{{
			Pattern: "creds/" + framework.GenericNameRegex("ttl") + "/" + framework.GenericNameRegex("max"),
			Fields: map[string]*framework.FieldSchema{
				"ttl": {Type: framework.TypeDurationSecond},
				"max": {Type: framework.TypeDurationSecond},
			},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{Callback: read},
			},
		}},
	}
	return backend, backend.Setup(ctx, config)
}

// registry names the built-in plugins; those above.
type registry struct{}

func (registry) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	found := map[consts.PluginType]map[string]logical.Factory{
		consts.PluginTypeSecrets: engines, consts.PluginTypeCredential: logins,
	}
	factory, ok := found[kind][name]
	return func() (interface{}, error) { return factory, nil }, ok
}

func (r registry) Contains(name string, kind consts.PluginType) bool {
	_, ok := r.Get(name, kind)
	return ok
}

func (r registry) Keys(kind consts.PluginType) (names []string) {
	for _, name := range []string{"kv", "leased", "approle"} {
		if r.Contains(name, kind) {
			names = append(names, name)
		}
	}
	return names
}

func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	address := listener.Addr().String()
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	store, err := inmem.NewInmem(nil, logger)
	must(err)
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: store, StorageType: "inmem", LogicalBackends: engines, CredentialBackends: logins,
		AuditBackends: map[string]audit.Factory{}, BuiltinRegistry: registry{}, Logger: logger,
		DisableMlock: true, RedirectAddr: "http://" + address, ClusterName: "test", RollbackPeriod: time.Minute,
		DefaultLeaseTTL: time.Hour, MaxLeaseTTL: 24 * time.Hour,
	})
	must(err)
	ctx := namespace.RootContext(context.Background())
	shares := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	made, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: shares, RecoveryConfig: shares})
	must(err)
	_, err = core.Unseal(made.SecretShares[0])
	must(err)
	for core.Sealed() {
		time.Sleep(10 * time.Millisecond)
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core: core, ListenerConfig: &configutil.Listener{Address: address, TLSDisable: true},
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { must(server.Serve(listener)) }()
	fmt.Printf("http://%s %s %x\n", address, made.RootToken, made.SecretShares[0])
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
}
