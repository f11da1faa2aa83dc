package bgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// A speaker that comes back must not tell its peers that it has said all (End-of-RIB) before it has heard all: what a reflector
// has not heard of again, its clients would remove. GoBGP waits for its peers, but only for those whose session has come up so
// far, so that the first one ends the waiting for all; and from then on it says in new sessions that it has lost its routes,
// upon which FRR and BIRD drop what they held. So while a speaker comes back it has one peer more, the placeholder, which
// connects once, from the loopback address, and never says that it has said all. With it GoBGP defers each peer for the time of
// its own that it is given.
const (
	deferral        = 1 // seconds from the session's start, for a speaker that announces only what is its own
	transitDeferral = 4 // for one that passes on what it hears: in that time the other peers are back as well
)

var placeholders = map[bool]netip.Addr{true: netip.MustParseAddr("127.0.0.1"), false: netip.IPv6Loopback()}

func (s *Speaker) placeholder() netip.Addr { return placeholders[s.cfg.Listen[0].Is4()] }

// deferralTime gives the seconds for which a peer waits for a speaker that comes back.
func deferralTime(c Config) uint32 {
	external := false
	for _, p := range c.Peers {
		external = external || p.AS != c.AS
		if p.Client || external && len(c.Peers) > 1 {
			return transitDeferral
		}
	}
	return deferral
}

// endOfRib is a peer's word that it has said all of a family.
type endOfRib struct {
	peer   netip.Addr
	family api.Family_Afi
}

// expectAll begins a restart: stale routes are kept until every peer has said all, or the time for it is over.
func (s *Speaker) expectAll() {
	for _, p := range s.cfg.Peers {
		for _, f := range families(p) {
			s.awaited[endOfRib{p.Address, family(f).Afi}] = true
		}
	}
	s.staleTill = time.Now().Add(time.Duration(s.cfg.Restart) * time.Second)
}

// restarting reports whether peers have yet to be heard; the first time that they have not, the placeholder goes.
func (s *Speaker) restarting(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.awaited) > 0 && time.Now().Before(s.staleTill) {
		return true
	}
	if s.held {
		s.held = false
		go func() {
			err := s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: s.placeholder().String()})
			if err != nil && ctx.Err() == nil {
				s.log.Warn("a peer of no use stays", "peer", s.placeholder(), "error", err)
			}
		}()
	}
	return false
}

// hold adds the placeholder and lets it connect.
func (s *Speaker) hold(ctx context.Context) error {
	p := Peer{Address: s.placeholder(), AS: s.cfg.AS, Families: []string{"ipv4", "ipv6"}}
	n := s.peer(p, true)
	n.Transport.LocalAddress, n.Transport.PassiveMode = "", true
	if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: n}); err != nil {
		return err
	}
	s.mu.Lock()
	s.held = true
	s.mu.Unlock()
	var err error
	for range 20 { // the peer is not ready at once, and refuses
		if err = s.connect(ctx, p); err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// connect opens a session with this very speaker, and breaks it off when it stands.
func (s *Speaker) connect(ctx context.Context, p Peer) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: p.Address.AsSlice()}, Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(s.cfg.Listen[0].String(), strconv.Itoa(int(port(s.cfg)))))
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Second))

	as := uint16(bgp.AS_TRANS)
	if p.AS < 1<<16 {
		as = uint16(p.AS)
	}
	open := bgp.NewBGPOpenMessage(as, 90, "127.0.0.1", []bgp.OptionParameterInterface{
		bgp.NewOptionParameterCapability([]bgp.ParameterCapabilityInterface{
			bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapMultiProtocol(bgp.RF_IPv6_UC), bgp.NewCapFourOctetASNumber(p.AS),
			bgp.NewCapGracefulRestart(false, false, s.cfg.Restart, []*bgp.CapGracefulRestartTuple{
				bgp.NewCapGracefulRestartTuple(bgp.RF_IPv4_UC, true), bgp.NewCapGracefulRestartTuple(bgp.RF_IPv6_UC, true),
			}),
		}),
	})
	for _, m := range []*bgp.BGPMessage{open, bgp.NewBGPKeepAliveMessage()} {
		text, err := m.Serialize()
		if err != nil {
			return err
		}
		if _, err := conn.Write(text); err != nil {
			return err
		}
	}
	go io.Copy(io.Discard, conn)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		up := false
		err := s.server.ListPeer(ctx, &api.ListPeerRequest{Address: p.Address.String()}, func(n *api.Peer) {
			up = n.State.SessionState == api.PeerState_ESTABLISHED
		})
		if up || err != nil {
			return err
		}
	}
	return errors.New("the session does not come up")
}

// hasten shortens the five seconds for which GoBGP will not hear of a peer whose session broke, to one. They are a constant of
// GoBGP's, but a reset of the peer sets another time, and the timer is set anew when the peer is disabled and enabled.
func (s *Speaker) hasten(ctx context.Context, peer string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.bounce(ctx, peer); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("a broken session is taken up late", "peer", peer, "error", err)
	}
}

func (s *Speaker) bounce(ctx context.Context, peer string) error {
	// The news may be old: a session that has come up since would be ended, and the peer would drop its routes at once.
	idle := false
	err := s.server.ListPeer(ctx, &api.ListPeerRequest{Address: peer}, func(p *api.Peer) {
		idle = p.State.SessionState == api.PeerState_IDLE
	})
	if err != nil || !idle {
		return err
	}
	if err := s.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: peer}); err != nil {
		return err
	}
	if err := s.server.DisablePeer(ctx, &api.DisablePeerRequest{Address: peer}); err != nil {
		return err
	}
	for down := false; !down; { // a second order would be lost before the first is taken
		time.Sleep(2 * time.Millisecond)
		err := s.server.ListPeer(ctx, &api.ListPeerRequest{Address: peer}, func(p *api.Peer) {
			down = p.State.AdminState == api.PeerState_DOWN
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("while it is disabled: %w", err)
		}
	}
	return s.server.EnablePeer(ctx, &api.EnablePeerRequest{Address: peer})
}
