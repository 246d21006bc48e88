// @ts-check
/**
 * The reconnect policy: when a link that does not stand is opened again, and when its streams are given up.
 *
 * - A connection that is cut: the EventSource opens it again by itself, after the time that the server has set. A hub
 *   opens a new one, after a pause that grows, but stays shorter than a stream lives without a connection (`cuts`).
 * - A connection that the server refuses: the page asks `_flash/status` why and opens a new one, after a pause that
 *   doubles with each refusal (`refusals`). The next `hello` makes it short again.
 * - A connection on which nothing comes, not even pings, as after the computer has slept: the page opens a new one
 *   (`isSilent`). The wall clock tells, since timers and other clocks stand still meanwhile.
 * - A connection that does not come back within the server's `reconnect_grace`: the streams are lost (`lossTimeout`).
 * - Streams that are to outlive their server are started again when one answers: each at a random moment within a pause
 *   that doubles while none of them sends anything (`restarts`), so that a new server does not get all starts at once.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);

    /** Milliseconds between two checks of whether the link is silent. */
    const CHECK_INTERVAL = 1_000;
    /** Milliseconds that the server may take to say `hello` on a new connection. */
    const HELLO_TIMEOUT = 10_000;
    /** The number of pings that may be missed. */
    const MISSED_PINGS = 3;
    /** Milliseconds that the page waits longer than the server, which ends the streams after the grace. */
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
                const now = pause;
                pause = Math.min(2 * pause, last);
                return now;
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
     * Whether nothing has been heard for so long that the connection is to be replaced.
     * @param {LinkState} state
     * @param {number} heard  when the server was last heard of, on the wall clock
     * @param {number} ping  seconds between two pings; Infinity if there are none
     */
    function isSilent(state, heard, ping) {
        const limit = MISSED_PINGS * ping * 1_000;
        return Date.now() - heard > (state === 'connecting' ? Math.min(limit, HELLO_TIMEOUT) : limit);
    }

    /**
     * Milliseconds after a cut until the streams are given up: 0 for at once, Infinity for never.
     * @param {number} grace  seconds for which the server keeps them
     */
    function lossTimeout(grace) {
        return grace === 0 ? 0 : grace * 1_000 + LOSS_MARGIN;
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
