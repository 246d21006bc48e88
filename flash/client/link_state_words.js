// @ts-check
/**
 * What each state and each trigger of `link_states.js` means, for `docs/states.md`. No page loads this script.
 */

(function () {
    const {flash} = /** @type {any} */ (window);

    /** What each state means. @type {Record<LinkState, string>} */
    const meanings = {
        idle: 'The page does not know its token yet.',
        connecting: 'A link was asked for, and the server has not sent `hello` on it.',
        open: 'The server has sent `hello`, and sends events.',
        reconnecting: 'The link was cut; the EventSource opens another by itself.',
        refused: 'The server has refused the link; the next attempt comes after a pause.',
        left: 'The page has been left. It may come back from the back/forward cache.',
        replaced: 'Another page has taken over the token: this one opens no link any more.'
    };

    /** When each trigger comes. @type {Record<LinkTrigger, string>} */
    const causes = {
        begun: 'The layout has brought the token.',
        greeted: '`hello` has come.',
        cut: 'The EventSource has fired `error`, and opens another link.',
        silent: 'Nothing has come for too long, or nothing of a stream that runs elsewhere: another link may help.',
        denied: 'The EventSource has fired `error`, and is closed; or `over` has come.',
        retried: 'The pause after a refusal is over, and `_flash/status` has been asked for its reason.',
        restarted: 'The server has answered that it does not know the page as it is: the page starts a new life.',
        'taken over': 'The server has answered that the page has another link, by `over` or by `_flash/status`.',
        hidden: 'The browser has fired `pagehide`.',
        shown: 'The browser has fired `pageshow`.'
    };

    Object.assign(flash.linkStates, {meanings, causes});
})();
