// @ts-check
/**
 * The reconnect policy: when another link is opened after one that was cut, refused or silent, and when streams are
 * lost.
 *
 * - A link that is cut: the EventSource opens another by itself, after the time that the server has set. A hub opens
 *   one after a pause that grows, but stays shorter than a stream lives without a link (`cuts`).
 * - A link that the server refuses: the page asks `_flash/status` why and opens another, after a pause that doubles
 *   with each refusal (`refusals`). The next `hello` makes it short again.
 * - A link on which nothing comes, not even pings, as after the computer has slept: the page opens another
 *   (`isSilent`). The wall clock tells, since timers and other clocks stand still meanwhile.
 * - No link within the server's `reconnect_grace`: the streams are lost (`lossTimeout`).
 * - Streams that are to outlive their server are started again when one answers: each at a random moment within a pause
 *   that doubles while none of them sends anything (`restarts`), so that a new server does not get all starts at once.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);

    /** Milliseconds between two checks of whether the link is silent. */
    const CHECK_INTERVAL = 1_000;
    /** Milliseconds that the server may take to send `hello` on a new link. */
    const HELLO_TIMEOUT = 10_000;
    /** The number of pings that may be missed. */
    const MISSED_PINGS = 3;
    /** Milliseconds that the page waits longer than the server, which ends the streams after `reconnect_grace`. */
    const LOSS_MARGIN = 1_000;

    /**
     * A pause, in milliseconds, that doubles each time up to a limit.
     * @param {number} first
     * @param {number} last
     */
    function backoff(first, last) {
        let pause = first;
        return {
            next: () => {
                const current = pause;
                pause = Math.min(2 * pause, last);
                return current;
            },
            reset: () => {
                pause = first;
            }
        };
    }

    /**
     * A random part of a pause.
     * @param {number} pause
     */
    function jitter(pause) {
        return Math.random() * pause;
    }

    /**
     * Whether nothing has come for so long that the link is to be replaced.
     * @param {LinkState} state
     * @param {number} lastReceivedAt  when the last event came, or the link was opened, on the wall clock
     * @param {number} ping  seconds between two pings; Infinity if there are none
     */
    function isSilent(state, lastReceivedAt, ping) {
        const limit = MISSED_PINGS * ping * 1_000;
        return Date.now() - lastReceivedAt > (state === 'connecting' ? Math.min(limit, HELLO_TIMEOUT) : limit);
    }

    /**
     * Milliseconds after a cut until the streams are given up: 0 for at once, Infinity for never.
     * @param {number} reconnectGrace  seconds for which the server keeps them
     */
    function lossTimeout(reconnectGrace) {
        return reconnectGrace === 0 ? 0 : reconnectGrace * 1_000 + LOSS_MARGIN;
    }

    const reconnect = {
        CHECK_INTERVAL,
        cuts: backoff(1_000, 3_000),
        refusals: backoff(1_000, 30_000),
        restarts: backoff(500, 30_000),
        jitter,
        isSilent,
        lossTimeout
    };
    Object.assign(flash, {reconnect});
})();
